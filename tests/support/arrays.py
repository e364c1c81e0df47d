"""Comparison of a model's outputs with the right ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array


def assert_outputs(
    got: Mapping[str, Array], wanted: Mapping[str, Array], tolerance: float = 1e-5
) -> None:
    """Assert equal names, dtypes and shapes, and floats within the tolerance."""
    assert got.keys() == wanted.keys()

    for name, value in wanted.items():
        assert got[name].dtype == value.dtype, name
        assert got[name].shape == value.shape, name

        # ml_dtypes' floats are of NumPy's kind "V".
        if value.dtype.kind in "fV":
            ours, truth = got[name].astype("f8"), value.astype("f8")
            np.testing.assert_allclose(ours, truth, 0, tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], value, err_msg=name)
