"""The protocol's datatypes, and TensorFlow's names for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference import InputMismatch, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

BYTES = "BYTES"

DTYPES: Mapping[str, str] = {
    "BOOL": "bool",
    **{f"UINT{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "BF16": "bfloat16",
    BYTES: "string",
}
"""TensorFlow's dtypes by datatype. `BF16` is an addition of Triton's."""

DATATYPES: Mapping[str, str] = {dtype: name for name, dtype in DTYPES.items()}

NO_DATATYPE = "INVALID"
"""The datatype in metadata of a dtype that the protocol lacks, as Triton's has it."""

BINARY_ONLY = frozenset({"FP16", "BF16"})
"""Datatypes that the protocol doesn't carry as JSON."""


def dtype_of(name: str, datatype: str) -> str:
    """Return the dtype of the input `name`. Raise `InputMismatch` if it's unknown."""
    try:
        return DTYPES[datatype]
    except KeyError:
        raise InputMismatch(
            f"input '{name}' has the datatype '{datatype[:80]}', which isn't one of "
            f"{', '.join(DTYPES)}"
        ) from None


def datatype_of(name: str, dtype: str) -> str:
    """Return the datatype of the output `name`. Raise `InvalidRequest` without one."""
    try:
        return DATATYPES[dtype]
    except KeyError:
        raise InvalidRequest(
            f"output '{name}' is of dtype {dtype}, for which the protocol has no "
            "datatype: name other outputs in the request, or use the /v1 API"
        ) from None


def shown_datatype(dtype: str) -> str:
    """Return the datatype for metadata and messages."""
    return DATATYPES.get(dtype, NO_DATATYPE)
