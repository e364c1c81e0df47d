"""The contents that an HDF5 file may have: groups and numbers stored in the file.

HDF5 silently reads other files (links, external storage, virtual datasets), runs
foreign code (filters) and trusts any declared size. So each object is inspected before
it is read, and no link is followed to find it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import h5py

from inference.errors import InvalidModel, first_line
from inference.formats.keras.vocabulary.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_OBJECTS = 100_000
MAX_DEPTH = 32
MAX_ATTRIBUTE_BYTES = 16 * 2**20
MAX_EXPANSION = 1000
"""Limit of a dataset's declared size over its stored size; Keras uses the same."""

_FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
}
_NUMBERS = (h5py.h5t.TypeFloatID, h5py.h5t.TypeIntegerID)
_LONGEST_OPAQUE = 2
"""Bytes. Keras writes bfloat16 and float8 as opaque values of two bytes and one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Values and bytes that a file's datasets declare in all.

    `quantized` says that some are 8-bit integers, as only quantized weights are,
    `opaque` that some have a type that HDF5 lacks, such as bfloat16.
    """

    values: int = 0
    declared_bytes: int = 0
    quantized: bool = False
    opaque: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _HDF5Object:
    """An object in a file: `path` is its place in the file, `depth` its groups."""

    identifier: Any
    path: str
    depth: int


def screen_hdf5(file: Any, name: str, memory_bytes: int | None) -> Stored:
    """Walk the open `h5py.File`; return what it declares.

    `name` is the file's name in errors. Raise `InvalidModel` for contents that a model
    file doesn't need, or for more than `memory_bytes` of declared data.
    """
    _forget_plugins()

    try:
        return _walk(file, name, memory_bytes)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as exc:
        # The library's errors for a structure that is damaged or crafted.
        raise InvalidModel(
            f"{name} is a damaged HDF5 file: {first_line(exc)}. Copy or save it again."
        ) from exc


def _walk(file: Any, name: str, memory_bytes: int | None) -> Stored:
    values = declared = attributes = 0
    kinds = set()

    for count, item in enumerate(_objects(file, name), start=1):
        where = f"{name}, object {item.path}"

        if count > MAX_OBJECTS:
            raise InvalidModel(f"{name} holds more than {MAX_OBJECTS:,} objects.")

        attributes += _attribute_bytes(item.identifier, where)

        if attributes > MAX_ATTRIBUTE_BYTES:
            raise InvalidModel(
                f"{where}: the file's attributes are larger than "
                f"{MAX_ATTRIBUTE_BYTES:,} bytes."
            )

        if isinstance(item.identifier, h5py.h5d.DatasetID):
            size = _screen_dataset(item.identifier, where)
            declared += size
            values += prod(item.identifier.shape)
            kinds.add(_kind(item.identifier.get_type()))
            _check_memory(declared, memory_bytes, name)

    return Stored(
        values=values,
        declared_bytes=declared,
        quantized="byte" in kinds,
        opaque="opaque" in kinds,
    )


def _objects(file: Any, name: str) -> Iterator[_HDF5Object]:
    """Yield all groups and datasets, each once."""
    root = h5py.h5g.open(file.id, b"/")
    # Hard links may share an object, or form cycles.
    seen = {_address(root)}
    waiting = [_HDF5Object(identifier=root, path="/", depth=0)]

    while waiting:
        item = waiting.pop()
        yield item

        if not isinstance(item.identifier, h5py.h5g.GroupID):
            continue

        for found in _members(item, name):
            address = _address(found.identifier)

            if address not in seen:
                seen.add(address)
                waiting.append(found)


def _members(item: _HDF5Object, name: str) -> Iterator[_HDF5Object]:
    group = h5py.Group(item.identifier)

    for number, key in enumerate(group):
        where = f"{item.path.rstrip('/')}/{shown(key)}"

        if number >= MAX_OBJECTS:
            raise InvalidModel(f"{name} holds more than {MAX_OBJECTS:,} objects.")

        if item.depth >= MAX_DEPTH:
            raise InvalidModel(
                f"{name}, object {where}: groups are nested deeper than {MAX_DEPTH}."
            )

        _check_link(group, key, f"{name}, object {where}")
        identifier = h5py.h5o.open(item.identifier, key.encode("utf-8"))

        if not isinstance(identifier, h5py.h5g.GroupID | h5py.h5d.DatasetID):
            raise InvalidModel(f"{name}, object {where} isn't a group or a dataset.")

        yield _HDF5Object(identifier=identifier, path=where, depth=item.depth + 1)


def _check_link(group: Any, key: str, where: str) -> None:
    link = group.get(key, getclass=True, getlink=True)

    if link is not h5py.HardLink:
        kind = {h5py.SoftLink: "a soft link", h5py.ExternalLink: "an external link"}
        raise InvalidModel(
            f"{where} is {kind.get(link, 'a link of another kind')}: it points "
            "elsewhere, maybe into another file, and isn't followed. Save the model "
            "again with its values in the file."
        )


def _address(identifier: Any) -> tuple[int, int]:
    about = h5py.h5o.get_info(identifier)
    return about.fileno, about.addr


def _screen_dataset(dataset: Any, where: str) -> int:
    """Return the bytes that `dataset` declares."""
    properties = dataset.get_create_plist()

    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise InvalidModel(
            f"{where} is a virtual dataset: it shows values of other files. Save the "
            "model again with its values in the file."
        )

    if properties.get_external_count():
        raise InvalidModel(
            f"{where} has external storage: its values are another file's bytes. Save "
            "the model again with its values in the file."
        )

    _check_filters(properties, where)
    kind = dataset.get_type()
    _check_type(kind, where)
    # The shape is read last: HDF5 looks it up in other files for a virtual dataset.
    return _check_expansion(dataset, properties, kind.get_size(), where)


def _check_filters(properties: Any, where: str) -> None:
    for number in range(properties.get_nfilters()):
        code = properties.get_filter(number)[0]

        if code not in _FILTERS:
            raise InvalidModel(
                f"{where} is compressed by filter {code}; only "
                f"{', '.join(_FILTERS.values())} are read, since others are code that "
                "HDF5 loads. Save it again without the filter."
            )


def _check_type(kind: Any, where: str) -> None:
    plain = (
        isinstance(kind, _NUMBERS)
        or (isinstance(kind, h5py.h5t.TypeEnumID) and _is_bool(kind))
        or (isinstance(kind, h5py.h5t.TypeStringID) and not kind.is_variable_str())
        or (
            isinstance(kind, h5py.h5t.TypeOpaqueID)
            and kind.get_size() <= _LONGEST_OPAQUE
        )
    )

    if not plain:
        raise InvalidModel(
            f"{where} holds values of type {_type_name(kind)}; weights are numbers, "
            "booleans or strings of fixed length."
        )


def _kind(kind: Any) -> str:
    if isinstance(kind, h5py.h5t.TypeOpaqueID):
        return "opaque"

    is_byte = isinstance(kind, h5py.h5t.TypeIntegerID) and kind.get_size() == 1
    return "byte" if is_byte else "other"


def _is_bool(kind: Any) -> bool:
    names = {kind.get_member_name(index) for index in range(kind.get_nmembers())}
    return names == {b"FALSE", b"TRUE"} and kind.get_size() == 1


def _type_name(kind: Any) -> str:
    """Return the name of a type: `TypeCompoundID` is "compound"."""
    if isinstance(kind, h5py.h5t.TypeStringID):
        return "variable string"

    return type(kind).__name__.removeprefix("Type").removesuffix("ID").lower()


def _check_expansion(dataset: Any, properties: Any, item: int, where: str) -> int:
    chunked = properties.get_layout() == h5py.h5d.CHUNKED
    # Reading one value of a chunk takes the memory of the whole chunk.
    chunk = prod(properties.get_chunk()) * item if chunked else 0
    declared = prod(dataset.shape) * item
    stored: int = dataset.get_storage_size()
    reads = max(declared, chunk) if declared else 0

    if reads > MAX_EXPANSION * stored:
        raise InvalidModel(
            f"{where} declares {reads:,} bytes but stores {stored:,}, less than a "
            f"{MAX_EXPANSION:,}th. Save the model again with all its values."
        )

    return reads


def _check_memory(declared: int, memory_bytes: int | None, name: str) -> None:
    if memory_bytes is not None and declared > memory_bytes:
        raise InvalidModel(
            f"{name} declares {declared:,} bytes of weights or more; a model may need "
            f"{memory_bytes:,}. Raise the memory budget to serve it."
        )


def _attribute_bytes(identifier: Any, where: str) -> int:
    total = 0

    for number in range(h5py.h5a.get_num_attrs(identifier)):
        attribute = h5py.h5a.open(identifier, index=number)
        label = shown(attribute.name.decode("utf-8", "replace"))
        kind = attribute.get_type()

        if not isinstance(kind, h5py.h5t.TypeStringID):
            _check_type(kind, f"{where}, attribute {label}")

        total += prod(attribute.shape) * kind.get_size()

        if total > MAX_ATTRIBUTE_BYTES:
            break

    return total


def _forget_plugins() -> None:
    """Remove all paths of filter plugins, whatever the environment names."""
    # HDF5 would load libraries from these paths.
    while h5py.h5pl.size():
        h5py.h5pl.remove(0)
