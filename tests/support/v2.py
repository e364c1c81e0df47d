"""Requests and answers of the Open Inference Protocol, written by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from inference import numpy_dtype
from service.codecs.v2.datatypes import DATATYPES, DTYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx

    from inference import Array

LENGTH = "Inference-Header-Content-Length"


def as_bytes(array: Array) -> bytes:
    """Return a tensor as the binary data extension has it."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()

    return b"".join(len(each).to_bytes(4, "little") + each for each in array.flat)


def from_bytes(data: bytes, datatype: str, shape: Iterable[int]) -> Array:
    if datatype != "BYTES":
        dtype = numpy_dtype(DTYPES[datatype])
        return np.frombuffer(data, dtype).reshape(tuple(shape))

    found = []
    while data:
        end = 4 + int.from_bytes(data[:4], "little")
        found.append(data[4:end])
        data = data[end:]

    array = np.empty(len(found), object)
    array[:] = found
    return array.reshape(tuple(shape))


def json_input(name: str, array: Array, *, flat: bool = True) -> dict[str, Any]:
    strings = array.dtype == object
    dtype = "string" if strings else array.dtype.name
    values = array.reshape(-1) if flat else array
    data = values.tolist()
    if strings:
        data = [each.decode() for each in array.flat]

    return {
        "name": name,
        "datatype": DATATYPES[dtype],
        "shape": list(array.shape),
        "data": data,
    }


def binary_body(
    inputs: dict[str, Array], **document: Any
) -> tuple[bytes, dict[str, str]]:
    """Return a body whose `inputs` are binary data, and its headers."""
    entries, blobs = [], []
    for name, array in inputs.items():
        blob = as_bytes(array)
        dtype = "string" if array.dtype == object else array.dtype.name
        entries.append(
            {
                "name": name,
                "datatype": DATATYPES[dtype],
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(blob)},
            }
        )
        blobs.append(blob)

    head = json.dumps({"inputs": entries, **document}).encode()
    headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}
    return b"".join([head, *blobs]), headers


def outputs_of(response: httpx.Response) -> dict[str, Array]:
    """Return the outputs of a response as arrays, by name."""
    content = response.content
    size = int(response.headers.get(LENGTH, len(content)))
    document, data = json.loads(content[:size]), content[size:]
    found = {}
    for each in document["outputs"]:
        shape, datatype = each["shape"], each["datatype"]
        if "data" in each:
            found[each["name"]] = _from_json(each["data"], datatype, shape)
            continue

        nbytes = each["parameters"]["binary_data_size"]
        found[each["name"]] = from_bytes(data[:nbytes], datatype, shape)
        data = data[nbytes:]

    assert not data
    return found


def _from_json(data: list[Any], datatype: str, shape: list[int]) -> Array:
    if datatype != "BYTES":
        return np.array(data, numpy_dtype(DTYPES[datatype])).reshape(shape)

    array = np.empty(len(data), object)
    array[:] = [each.encode() for each in data]
    return array.reshape(shape)
