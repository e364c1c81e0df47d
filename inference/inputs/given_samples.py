"""Real inputs beside a model: its sample file and its recorded requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inference.dtypes import numpy_dtype
from inference.errors import InputMismatch, InvalidSidecar
from inference.inputs.binding import bind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inference.inputs.recorded_requests import RecordedRequest
    from inference.types import Array, Signature, TensorSpec

# The first seeds give the rows as they are; later ones mix their values.
_LAST_PLAIN_SEED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSample:
    """Inputs for a signature; `place` is their file.

    The model must take a `binding` sample, which its sidecar names.
    """

    signature: Signature
    inputs: Mapping[str, Array]
    place: str
    binding: bool = False

    @property
    def rows(self) -> int:
        """The number of rows; 1 if the inputs differ in it."""
        lengths = {len(self.inputs[name]) for name in self._in_rows()}
        return lengths.pop() if len(lengths) == 1 else 1

    def draw(self, rows: int, seed: int) -> dict[str, Array]:
        """Return the inputs as they are for `seed` 0 and all rows, else reordered.

        A single row's values are mixed instead.
        """
        generator = np.random.default_rng(seed)
        mixed = seed > _LAST_PLAIN_SEED or (seed > 0 and self.rows == 1)
        places = (seed + np.arange(rows)) % self.rows
        drawn = {name: self.inputs[name][places] for name in self._row_inputs()}

        if mixed:
            drawn = {name: _mixed(rows, generator) for name, rows in drawn.items()}

        defaults = {name: s.default for name, s in self.signature.inputs.items()}
        return {**_without_none(defaults), **self.inputs, **drawn}

    def _row_inputs(self) -> list[str]:
        """Return the inputs whose rows may be drawn one by one."""
        names = self._in_rows()
        same = len({len(self.inputs[name]) for name in names}) == 1
        return names if same and not self.signature.takes_parts else []

    def _in_rows(self) -> list[str]:
        return [
            name
            for name, value in self.inputs.items()
            if value.ndim and _leads_open(self.signature.inputs[name])
        ]


def from_sample(
    arrays: Mapping[str, Array], signatures: Mapping[str, Signature], place: str
) -> dict[str, GivenSample]:
    """Assign a sample's arrays to signatures. Raises `InvalidSidecar`.

    An array is named after an input, or `signature/input`.
    """
    left = set(arrays)
    found: dict[str, GivenSample] = {}

    for name, signature in signatures.items():
        named = {key: _input_of(key, signature) for key in arrays}
        inputs = {each: arrays[key] for key, each in named.items() if each}
        left -= {key for key, each in named.items() if each}

        if inputs and (len(signatures) == 1 or inputs.keys() >= {*signature.required}):
            bound = _bound(signature, inputs, place)
            found[name] = GivenSample(
                signature=signature, inputs=bound, place=place, binding=True
            )

    if left or not found:
        raise InvalidSidecar(
            f"the sample '{place}' has {_names(sorted(arrays))}, but "
            f"{'; '.join(map(_wants, signatures.values()))}. Name the arrays after all "
            "inputs of a signature, or 'signature/input'."
        )

    return found


def from_requests(
    requests: Sequence[RecordedRequest],
    signatures: Mapping[str, Signature],
    default: str,
) -> dict[str, GivenSample]:
    """Return the first of the `requests` that fits each signature."""
    found: dict[str, GivenSample] = {}

    for request in requests:
        signature = signatures.get(request.signature or default)

        if signature is None or signature.name in found:
            continue

        try:
            inputs = bind(signature, request.inputs)
        except InputMismatch:
            # Reported when the request is replayed.
            continue

        given = GivenSample(signature=signature, inputs=inputs, place=request.place)

        if all(len(inputs[name]) for name in given._in_rows()):
            found[signature.name] = given

    return found


def _bound(
    signature: Signature, inputs: Mapping[str, Array], place: str
) -> dict[str, Array]:
    try:
        cast = {
            name: _cast(signature.inputs[name], value) for name, value in inputs.items()
        }
        bound = bind(signature, cast)
    except InputMismatch as exc:
        raise InvalidSidecar(f"the sample '{place}' doesn't fit: {exc}") from exc

    if any(value.ndim and not len(value) for value in bound.values()):
        raise InvalidSidecar(f"the sample '{place}' has no rows. Give it one or more.")

    return bound


def _cast(spec: TensorSpec, value: Array) -> Array:
    """Narrow an array to the input's dtype, if that changes no integer."""
    # NumPy's own dtypes are wider than most models'.
    if spec.dtype == "string":
        return value.astype(object) if value.dtype.kind in "SU" else value

    wanted = numpy_dtype(spec.dtype)

    if value.dtype.kind == "V" and value.dtype.itemsize == wanted.itemsize:
        return value.view(wanted)

    if value.dtype.kind not in "biufc" or value.dtype == wanted:
        return value

    whole = value.dtype.kind in "biu"
    narrowed = value.astype(wanted) if whole or wanted.kind not in "biu" else value
    return value if whole and not np.array_equal(narrowed, value) else narrowed


def _mixed(rows: Array, generator: np.random.Generator) -> Array:
    """Replace half of each row's values by others of the same row."""
    flat = rows.reshape(len(rows), -1)
    size = flat.shape[1]
    places = np.broadcast_to(np.arange(size), flat.shape)
    others = generator.integers(0, max(size, 1), flat.shape)
    chosen = np.where(generator.random(flat.shape) < 0.5, others, places)
    mixed = np.take_along_axis(flat, chosen, 1)

    if rows.dtype.kind == "f":
        # Scaled too, for rows of a single value.
        mixed = (mixed * generator.uniform(0.9, 1, (len(rows), 1))).astype(rows.dtype)

    return mixed.reshape(rows.shape)


def _input_of(key: str, signature: Signature) -> str | None:
    own = key.removeprefix(f"{signature.name}/")
    return next((name for name in (key, own) if name in signature.inputs), None)


def _leads_open(spec: TensorSpec) -> bool:
    return spec.shape is None or spec.shape[:1] == (None,)


def _without_none(values: Mapping[str, Array | None]) -> dict[str, Array]:
    return {name: value for name, value in values.items() if value is not None}


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "no arrays"


def _wants(signature: Signature) -> str:
    return f"signature '{signature.name}' wants {_names(signature.required)}"
