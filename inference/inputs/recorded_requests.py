"""Recorded requests beside a model, which a new version must answer before it serves.

`warmup.jsonl` in the version's folder or the model's, `<stem>.warmup.jsonl` beside a
bare file. Each line is a predict body, `{"inputs": {...}}` or `{"instances": [...]}`,
with `"signature_name"` where it isn't the default.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from inference.errors import InvalidModel
from inference.types import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from inference.repository.scan import ModelFiles

TFS_WARMUP = "assets.extra/tf_serving_warmup_requests"
"""The place of TensorFlow Serving's recorded requests, which aren't read."""

MAX_BYTES = 8 * 1024**2
MAX_REQUESTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A recorded request; `place` is its file and line, for errors."""

    place: str
    signature: str | None
    inputs: Mapping[str, Any]


def read_warmup(files: ModelFiles) -> list[RecordedRequest]:
    """Read the recorded requests of a version; none without a file.

    Raises `InvalidModel` if one can't be read.
    """
    return [] if files.warmup is None else list(_parse(files.warmup))


def read_first(path: Path | None) -> list[RecordedRequest]:
    """Return the first readable request of each signature."""
    # Errors are reported when the requests are replayed.
    found: dict[str | None, RecordedRequest] = {}

    try:
        lines = [] if path is None else _lines(path)
    except InvalidModel:
        return []

    for number, line in itertools.islice(lines, MAX_REQUESTS):
        with suppress(InvalidModel):
            recorded = _request(f"line {number}", line)
            found.setdefault(recorded.signature, recorded)

    return list(found.values())


def _parse(path: Path) -> Iterator[RecordedRequest]:
    lines = [line for line in _lines(path) if line[1].strip()]

    if len(lines) > MAX_REQUESTS:
        raise InvalidModel(
            f"{path.name} has {len(lines)} requests; keep at most {MAX_REQUESTS}."
        )

    for number, line in lines:
        yield _request(f"{path.name}, line {number}", line)


def _lines(path: Path) -> Iterable[tuple[int, bytes]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidModel(f"{path.name} has more than {MAX_BYTES} bytes.")

        return enumerate(path.read_bytes().split(b"\n"), start=1)
    except OSError as exc:
        raise InvalidModel(f"{path.name} can't be read: {exc.strerror}.") from exc


def _request(place: str, line: bytes) -> RecordedRequest:
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise InvalidModel(f"{place}: it isn't JSON: {exc}.") from exc

    if not isinstance(body, dict) or ("inputs" in body) == ("instances" in body):
        raise InvalidModel(f'{place}: it must have one of "inputs" and "instances".')

    signature = body.get("signature_name")

    if not isinstance(signature, str | None):
        raise InvalidModel(f'{place}: "signature_name" must be a string.')

    return RecordedRequest(
        place=place, signature=signature, inputs=_inputs(place, body)
    )


def _inputs(place: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    if "inputs" in body:
        inputs = body["inputs"]
        return inputs if isinstance(inputs, dict) else {UNNAMED: inputs}

    rows = body["instances"]
    if not isinstance(rows, list) or not rows:
        raise InvalidModel(f'{place}: "instances" must be a list with a row or more.')

    if not isinstance(rows[0], dict):
        return {UNNAMED: rows}

    if any(not isinstance(row, dict) or row.keys() != rows[0].keys() for row in rows):
        raise InvalidModel(f"{place}: the rows must have the same inputs.")

    return {name: [row[name] for row in rows] for name in rows[0]}
