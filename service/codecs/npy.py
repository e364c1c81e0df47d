"""Arrays as `.npy` and `.npz`, the files of `numpy.save` and `numpy.savez`. Pure."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from inference import UNNAMED, WIDENED, InvalidRequest, Ragged, Sparse
from service.jobs.npz import record_pieces
from service.jobs.rows import NPY, NPZ, BadRows, read_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Array, Output

ARRAY_TYPES = frozenset({NPY, NPZ})
SETTING = "--max-inflated-bytes"


def decode_arrays(kind: str, body: bytes, most_bytes: int) -> dict[str, Array]:
    """Return the arrays of a body of the media type `kind`, by name.

    The only array of an `.npy` is under `UNNAMED`, unless it is of records. Raise
    `InvalidRequest`, and `BodyTooLarge` for an `.npz` of more than `most_bytes`.
    """
    try:
        if kind == NPZ:
            pieces = record_pieces(io.BytesIO(body), most_bytes, setting=SETTING)
            body = b"".join(pieces)

        array = _read(body)
    except BadRows as exc:
        raise InvalidRequest(str(exc)) from None

    names = array.dtype.names
    columns = {UNNAMED: array} if names is None else {n: array[n] for n in names}
    return {name: _native(column) for name, column in columns.items()}


def _read(body: bytes) -> Array:
    head = read_head(body)
    if head is None:
        raise BadRows("the body isn't an .npy that can be read: it is cut short")

    wanted = math.prod(head.shape) * head.dtype.itemsize
    if len(body) - head.start != wanted:
        raise BadRows(
            f"the .npy has {len(body) - head.start} bytes of numbers, and its head says"
            f" {wanted}"
        )

    return np.frombuffer(body, head.dtype, offset=head.start).reshape(head.shape)


def _native(array: Array) -> Array:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def encode_arrays(kind: str, outputs: Mapping[str, Output]) -> bytes:
    """Return the outputs as the media type `kind`. Raise `InvalidRequest`.

    Dtypes that NumPy lacks are widened, as in JSON.
    """
    arrays = {name: _plain(name, output) for name, output in outputs.items()}
    file = io.BytesIO()
    if kind == NPZ:
        # Not `numpy.savez`: no output could be called `file`.
        with ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(ZipInfo(f"{name}.npy"), "w") as member:
                    npy.write_array(member, array, allow_pickle=False)

        return file.getvalue()

    if len(arrays) != 1:
        raise InvalidRequest(
            f"an .npy holds one array, and the answer has {len(arrays)}: name one of"
            f" the outputs, {', '.join(map(repr, arrays))}, or send 'Accept: {NPZ}'"
        )

    (array,) = arrays.values()
    npy.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def _plain(name: str, output: Output) -> Array:
    if isinstance(output, Ragged | Sparse) or output.dtype.kind in "OSU":
        kind = "of strings" if not isinstance(output, Ragged | Sparse) else "no array"
        raise InvalidRequest(
            f"output '{name}' is {kind}, which {NPY} and {NPZ} can't hold: ask for"
            " JSON, with 'Accept: application/json'"
        )

    return output.astype(WIDENED.get(output.dtype.name, output.dtype), copy=False)
