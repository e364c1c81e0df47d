"""Models and their signatures as tables for a terminal."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from inference import by_whole, show_bytes, show_shape, whole_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from inference import CachedArtifact, Precompiled, Shape, Signature, TensorSpec

    Entry = Mapping[str, Any]

SIGNATURE_HEADINGS = ("signature", "inputs", "outputs", "batches")
LAYER_HEADINGS = ("layer", "output", "served")
MODEL_HEADINGS = ("name", "version", "state", "labels", "format", "memory", "last use")
FILE_WIDTH = 250
STYLES = {"AVAILABLE": "green", "LOADING": "yellow", "START": "yellow", "END": "dim"}


def tensors(specs: Mapping[str, TensorSpec]) -> str:
    """Return a line for each input, `pixels: float32[?,64]`, with its default."""
    return "\n".join(
        f"{spec.name}: {spec.dtype}{_unbroken(spec.shape)}{_default(spec)}{_part(spec)}"
        for spec in specs.values()
    )


def outputs(specs: Mapping[str, TensorSpec]) -> str:
    """Return a line for each output; a ragged or sparse one is one output."""
    return "\n".join(
        f"{name}: {_kind(parts)}{_unbroken(whole_shape(parts))}"
        for name, parts in by_whole(specs).items()
    )


def signature_table(signatures: Iterable[Signature], default: str | None) -> Table:
    """Return a row for each signature: inputs, outputs, and if it batches."""
    table = plain_table(SIGNATURE_HEADINGS)

    for signature in signatures:
        mark = "\n(default)" if signature.name == default else ""
        table.add_row(
            Text(signature.name + mark),
            Text(tensors(signature.inputs)),
            Text(answered(signature)),
            Text("yes" if signature.batchable else f"no: {signature.batchable_reason}"),
        )

    return table


def layer_table(model: Precompiled) -> Table:
    """Return a row for each layer that the sidecar of `model` may name."""
    table = plain_table(LAYER_HEADINGS)
    outputs = {name for each in model.signatures.values() for name in each.outputs}
    layers = model.manifest.layers if model.manifest else {}

    for name, shape in layers.items():
        served = "yes" if name in outputs else ""
        table.add_row(Text(name), Text(_unbroken(shape)), Text(served))

    return table


def answered(signature: Signature) -> str:
    """Return a line for each usual output, and one for those on request."""
    usual = {name: signature.outputs[name] for name in signature.usual}
    others = len(signature.outputs) - len(usual)
    return f"{outputs(usual)}\n(+ {others} on request)" if others else outputs(usual)


def plain_table(headings: Iterable[str]) -> Table:
    """Return an empty table without lines."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")

    return table


def model_facts(model: Precompiled) -> list[tuple[str, str]]:
    """Return the facts about a compiled model, by name, to show to a user."""
    manifest = model.manifest

    if manifest is None:
        return [("error", model.error or "unknown")]

    gap = manifest.largest_difference
    checked = "not compared" if gap is None else f"largest difference {gap:.2g}"
    return [
        ("file", f"{model.path} ({show_bytes(manifest.source_bytes)})"),
        ("format", f"{manifest.source_format}, written by {manifest.source_writer}"),
        ("graph", f"{manifest.optimization} optimisation, {checked} from the source"),
        ("weights", _weights(manifest.weights_bytes)),
        ("artifact", str(model.folder)),
        *(("note", note) for note in manifest.notes),
    ]


def _weights(nbytes: int) -> str:
    # Small ones stand in the graph itself.
    return f"{show_bytes(nbytes)} mapped from a file" if nbytes else "in the graph"


def _unbroken(shape: Shape) -> str:
    """Return a shape without spaces, at which a terminal would break it."""
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


def print_models(models: Iterable[Entry]) -> None:
    """Print a row for each version of `GET /v1/models`, then all errors."""
    models = list(models)
    if not models:
        Console().print("There is no model.")
        return

    print_table(model_table(models))
    print_problems(problems(models))


def print_artifacts(artifacts: Iterable[CachedArtifact]) -> None:
    """Print a row for each compiled model of a cache."""
    table = plain_table(("model", "source", "size", "last use", "", "folder"))

    for each in artifacts:
        last = datetime.fromtimestamp(each.last_used).strftime("%Y-%m-%d %H:%M")
        table.add_row(
            Text(printable(each.model or "damaged")),
            Text(printable(each.source)),
            show_bytes(each.nbytes),
            last,
            "in use" if each.in_use else "",
            each.folder.name,
        )

    if table.row_count:
        print_table(table)


def print_table(table: Table) -> None:
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else FILE_WIDTH)
    console.print(table)


def print_problems(lines: Iterable[str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text(f"! {printable(line)}", style="yellow"))


def model_table(models: Iterable[Entry]) -> Table:
    table = plain_table(MODEL_HEADINGS)
    for model in models:
        for version in model["versions"]:
            table.add_row(Text(printable(model["name"])), *_cells(version))

    return table


def problems(models: Iterable[Entry]) -> Iterator[str]:
    """Yield why versions can't answer, or answer with older files."""
    for model in models:
        for version in model["versions"]:
            name = f"{model['name']}/{version['version']}"
            error, update_error = version["error"], version["update_error"]
            if error is not None:
                yield f"{name}: {error}"

            if update_error is not None:
                yield f"{name}: its present files aren't served: {update_error}"


def printable(text: str) -> str:
    """Return `text` with characters escaped that would control a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _cells(version: Entry) -> Iterator[Text]:
    failed = version["error"] is not None
    state = "failed" if failed else version["state"]
    yield Text(str(version["version"]))
    yield Text(printable(state), style="red" if failed else STYLES.get(state, ""))
    yield Text(printable(", ".join(version["labels"])))
    yield Text(printable(version["format"] or ""))
    yield Text(_memory(version))
    yield Text(_last_use(version["last_used"]))


def _memory(version: Entry) -> str:
    known = version["memory_bytes"] is not None
    text = show_bytes(version["memory_bytes"]) if known else ""
    return f"{text} pinned".strip() if version["pinned"] else text


def _last_use(moment: str | None) -> str:
    return "never" if moment is None else local_time(moment)


def local_time(moment: str) -> str:
    """Return a time of RFC 3339 as the clock on the wall shows it, to the second."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"
