"""Models and their signatures as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from inference import by_whole, show_bytes, show_shape, whole_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from inference import Precompiled, Shape, Signature, TensorSpec


def tensors(specs: Mapping[str, TensorSpec]) -> str:
    """`pixels: float32[?,64]`, a line each; optional ones with their default."""
    return "\n".join(
        f"{spec.name}: {spec.dtype}{_unbroken(spec.shape)}{_default(spec)}{_part(spec)}"
        for spec in specs.values()
    )


def outputs(specs: Mapping[str, TensorSpec]) -> str:
    """The same; a ragged or sparse output is one line, as clients get it."""
    return "\n".join(
        f"{name}: {_kind(parts)}{_unbroken(whole_shape(parts))}"
        for name, parts in by_whole(specs).items()
    )


def signature_table(signatures: Iterable[Signature], default: str | None) -> Table:
    """A row a signature: its inputs, its outputs, whether rows may be joined."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))

    for heading in ("signature", "inputs", "outputs", "batches"):
        table.add_column(heading, overflow="fold")

    for signature in signatures:
        mark = "\n(default)" if signature.name == default else ""
        table.add_row(
            Text(signature.name + mark),
            Text(tensors(signature.inputs)),
            Text(outputs(signature.outputs)),
            Text("yes" if signature.batchable else f"no: {signature.batchable_reason}"),
        )

    return table


def facts(model: Precompiled) -> list[tuple[str, str]]:
    """What a user may want to know of a compiled model besides how to call it."""
    manifest = model.manifest

    if manifest is None:
        return [("error", model.error or "unknown")]

    gap = manifest.largest_difference
    checked = "not compared" if gap is None else f"largest difference {gap:.2g}"
    return [
        ("file", f"{model.path} ({show_bytes(manifest.source_bytes)})"),
        ("format", f"{manifest.source_format}, written by {manifest.source_writer}"),
        ("graph", f"{manifest.optimization} optimisation, {checked} from the source"),
        ("weights", f"{show_bytes(manifest.weights_bytes)} mapped from a file"),
        ("artifact", str(model.folder)),
        *(("note", note) for note in manifest.notes),
    ]


def _unbroken(shape: Shape) -> str:
    """A shape that no terminal's width breaks in two."""
    return show_shape(shape).replace(" ", "")


def _kind(parts: list[TensorSpec]) -> str:
    part = parts[0].part
    if part is None:
        return parts[0].dtype

    values = next(each for each in parts if each.part and each.part.role == "values")
    return f"{part.kind} {values.dtype}"


def _part(spec: TensorSpec) -> str:
    part = spec.part
    return f" ({part.role} of the {part.kind} '{part.of}')" if part else ""


def _default(spec: TensorSpec) -> str:
    return "" if spec.default is None else f" = {spec.default.tolist()!r} (optional)"
