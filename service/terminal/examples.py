"""Example requests, as commands to paste into a shell."""

from __future__ import annotations

import base64
import json
import math
import shlex
from functools import reduce
from typing import TYPE_CHECKING, Any

from inference import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Signature, TensorSpec

INLINE_VALUES = 16
"""Most numbers of a body that is written out; a script writes a longer one."""

_NO_SAMPLE = Sample(shapes={})


def curl(url: str, signature: Signature, *, name: str | None = None) -> str:
    """Return a command that gets an answer from `url`, a model's `:predict`.

    It sends the values that the model accepted when it was compiled, zeros if possible.
    Give `name` if the signature isn't the model's default.
    """
    sample = signature.sample or _NO_SAMPLE
    specs = [signature.inputs[required] for required in signature.required]
    named = {"signature_name": name} if name else {}
    key = "instances" if _in_rows(signature, specs) else "inputs"

    if sum(math.prod(_shape(spec, sample)) for spec in specs) <= INLINE_VALUES:
        values = {spec.name: _value(spec, sample) for spec in specs}
        body = json.dumps(
            {**named, key: _without_name(values, rows=key == "instances")}
        )
        return f"curl -d {shlex.quote(body)} {url}"

    texts = {spec.name: _expression(spec, sample) for spec in specs}
    fields = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in named.items()]
    fields.append(
        f"{json.dumps(key)}: {_text_without_name(texts, rows=key == 'instances')}"
    )
    script = f"import json; print(json.dumps({{{', '.join(fields)}}}))"
    return f"python3 -c {shlex.quote(script)} | curl -d @- {url}"


def primary_signature(
    signatures: Mapping[str, Signature], default: str | None
) -> tuple[Signature, str | None]:
    """Return the signature to show, and its name if a request must give it.

    It is the default one, or the first by name if that can't be served.
    """
    if default is not None and default in signatures:
        return signatures[default], None

    name = min(signatures)
    return signatures[name], name


def _in_rows(signature: Signature, specs: list[TensorSpec]) -> bool:
    """Return whether rows are the first dimension of every tensor."""
    return bool(specs) and all(
        spec.shape is not None
        and len(spec.shape) > 0
        and spec.shape[0] is None
        and spec.part is None
        for spec in (*specs, *(signature.outputs[name] for name in signature.usual))
    )


def _without_name(values: dict[str, Any], *, rows: bool) -> Any:
    """Return the values as a client sends them: a single one without its name."""
    if rows:
        values = {name: value[0] for name, value in values.items()}

    whole = next(iter(values.values())) if len(values) == 1 else values
    return [whole] if rows else whole


def _text_without_name(texts: dict[str, str], *, rows: bool) -> str:
    """Do as `_without_name` for values that are Python expressions."""
    if len(texts) == 1:
        return next(iter(texts.values()))

    inner = {name: f"{text}[0]" if rows else text for name, text in texts.items()}
    whole = ", ".join(f"{json.dumps(name)}: {text}" for name, text in inner.items())
    return f"[{{{whole}}}]" if rows else f"{{{whole}}}"


def _shape(spec: TensorSpec, sample: Sample) -> tuple[int, ...]:
    guessed = tuple(1 if size is None else size for size in spec.shape or ())
    # The parts of a composite tensor must fit together: one value, at the start.
    return guessed if spec.part else tuple(sample.shapes.get(spec.name, guessed))


def _value(spec: TensorSpec, sample: Sample) -> Any:
    known = _one_row(spec)
    if known is not None:
        return known

    return _nest(_leaf(spec, sample), _shape(spec, sample))


def _nest(leaf: Any, shape: tuple[int, ...]) -> Any:
    return reduce(lambda value, size: [value] * size, reversed(shape), leaf)


def _one_row(spec: TensorSpec) -> list[int] | None:
    """Return the shape or row splits of a composite tensor of one row and value."""
    part = spec.part
    if part is None:
        return None

    if part.role == "shape":
        return [size or 1 for size in part.shape or spec.shape or ()]

    return [0, 1] if part.role.startswith("row_splits") else None


def _expression(spec: TensorSpec, sample: Sample) -> str:
    known = _one_row(spec)
    if known is not None:
        return repr(known)

    text = repr(_leaf(spec, sample))
    return reduce(
        lambda value, size: f"[{value}]" if size == 1 else f"[{value}] * {size}",
        reversed(_shape(spec, sample)),
        text,
    )


def _leaf(spec: TensorSpec, sample: Sample) -> Any:
    if spec.dtype == "string":
        return _text(sample.texts.get(spec.name, b""))

    if spec.dtype == "bool":
        return False

    fill = sample.fills.get(spec.name, 0)
    return int(fill) if "int" in spec.dtype else float(fill)


def _text(text: bytes) -> Any:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(text).decode("ascii")}
