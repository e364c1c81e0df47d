"""Example requests, as commands to paste into a shell."""

from __future__ import annotations

import json
import shlex
from functools import reduce
from typing import TYPE_CHECKING

from service.codecs.json.samples import (
    NO_SAMPLE,
    count_values,
    in_rows,
    one_row,
    required_specs,
    rows_or_columns,
    sample_leaf,
    sample_shape,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Sample, Signature, TensorSpec

INLINE_VALUES = 16
"""Most numbers of a body that is written out; a script writes a longer one."""


def curl(url: str, signature: Signature, *, name: str | None = None) -> str:
    """Return a command that gets an answer from `url`, a model's `:predict`.

    It sends the values that the model accepted when it was compiled, zeros if possible.
    Give `name` if the signature isn't the model's default.
    """
    sample = signature.sample or NO_SAMPLE
    specs = required_specs(signature)
    named = {"signature_name": name} if name else {}

    if count_values(specs, sample) <= INLINE_VALUES:
        body = json.dumps({**named, **rows_or_columns(signature, sample)})
        return f"curl -d {shlex.quote(body)} {url}"

    key = "instances" if in_rows(signature, specs) else "inputs"
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


def _text_without_name(texts: dict[str, str], *, rows: bool) -> str:
    """Return expressions as a client sends their values: a single one unnamed."""
    if len(texts) == 1:
        return next(iter(texts.values()))

    inner = {name: f"{text}[0]" if rows else text for name, text in texts.items()}
    whole = ", ".join(f"{json.dumps(name)}: {text}" for name, text in inner.items())
    return f"[{{{whole}}}]" if rows else f"{{{whole}}}"


def _expression(spec: TensorSpec, sample: Sample) -> str:
    known = one_row(spec)
    if known is not None:
        return repr(known)

    text = repr(sample_leaf(spec, sample))
    return reduce(
        lambda value, size: f"[{value}]" if size == 1 else f"[{value}] * {size}",
        reversed(sample_shape(spec, sample)),
        text,
    )
