"""The mean and the standard deviation of samples, or all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inference.errors import InvalidRequest

if TYPE_CHECKING:
    from inference.types import Array

MAX_BYTES = 64 * 2**20
"""Most bytes of samples that one answer may hold."""


class Statistics:
    """Samples of one output, by mean and deviation; `keep` keeps all instead."""

    def __init__(self, count: int, *, keep: bool) -> None:
        self._count = count
        self._keep = keep
        self._kept: list[Array] = []
        self._seen = 0
        self._mean: Array = np.array(0.0)
        self._squares: Array = np.array(0.0)
        self._dtype: np.dtype[np.generic] = np.dtype("float32")

    def add(self, sample: Array) -> None:
        """Add a sample. Raise `InvalidRequest` if all would be too large to keep."""
        self._dtype = sample.dtype

        if self._keep:
            self._check(sample)
            self._kept.append(sample)
            return

        # Welford's way: the squares of large numbers would lose small deviations.
        self._seen += 1
        wide = sample.astype(np.float64)
        gap = wide - self._mean
        self._mean = self._mean + gap / self._seen
        self._squares = self._squares + gap * (wide - self._mean)

    def outputs(self) -> dict[str, Array]:
        """Return `mean` and `std`, or `samples`, whose second dimension counts them."""
        if self._keep:
            axis = min(1, self._kept[0].ndim)
            return {"samples": np.stack(self._kept, axis=axis)}

        deviation = np.sqrt(self._squares / self._seen)
        return {
            "mean": self._mean.astype(self._dtype),
            "std": deviation.astype(self._dtype),
        }

    def _check(self, sample: Array) -> None:
        if self._count * sample.nbytes > MAX_BYTES:
            raise InvalidRequest(
                f"{self._count} samples of this answer are more than {MAX_BYTES:,} "
                "bytes: ask for fewer, for fewer rows, or for mean and deviation."
            )
