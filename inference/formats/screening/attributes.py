"""Attributes of a node that name a file or a place, whatever the operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = frozenset(
    {
        "debug_urls",
        "file_name",
        "file_pattern",
        "filename",
        "log_dir_path",
        "memory_region_name",
        "output_file_path",
        "reader_path_prefix",
        "reader_prefix",
        "vocab_file",
        "writer_path_prefix",
        "writer_prefix",
    }
)
_PLACES = FILES | {"descriptor_source", "output_stream"}
_CALL_SETTINGS = ("config", "config_proto")


def outside_reference(node: Any) -> tuple[str, str] | None:
    """Return an attribute that names a place outside the graph, and the place."""
    return next(_places(node.attr), None)


def holds_handle(node: Any) -> bool:
    """Return whether a constant of `node` is a resource or a variant."""
    # It may refer to another model's resource, or contain a program.
    return any(each.dtype in _HANDLES for each in constants(node.attr))


def constants(attributes: Any) -> Iterator[Any]:
    """Yield the tensors in `attributes`, and in those of the functions they name."""
    for value in attributes.values():
        if value.WhichOneof("value") == "tensor":
            yield value.tensor

        yield from value.list.tensor

        for function in _named(value):
            yield from constants(function.attr)


def clear_placement(node: Any) -> None:
    """Drop the device, the colocation and the call settings of `node`."""
    # The model runs where it is served: files name workers, parameter servers and GPUs
    # of the machine that wrote them, and nodes that are pruned.
    node.device = ""
    node.attr.pop("_class", None)

    for name in _CALL_SETTINGS:
        if name in node.attr:
            node.attr[name].s = b""


def _places(attributes: Any) -> Iterator[tuple[str, str]]:
    for name, value in attributes.items():
        if value.WhichOneof("value") == "placeholder" and name in _PLACES:
            # The caller fills it in, under an attribute of any name.
            yield name, f"${value.placeholder}"

        yield from ((name, text) for text in _texts(value) if _is_place(name, text))

        for function in _named(value):
            yield from _places(function.attr)


def _named(value: Any) -> list[Any]:
    single = [value.func] if value.WhichOneof("value") == "func" else []
    return [*single, *value.list.func]


def _is_place(name: str, text: str) -> bool:
    if name == "descriptor_source":
        return text not in ("", "local://")

    if name == "output_stream":
        return text.startswith("file:")

    return name in FILES and bool(text)


def _texts(value: Any) -> Iterator[str]:
    texts = [value.s] if value.WhichOneof("value") == "s" else value.list.s
    yield from (text.decode("utf-8", "replace") for text in texts)


# DT_RESOURCE and DT_VARIANT, and the references to them that start at 100.
_HANDLES = frozenset({20, 21, 120, 121})
