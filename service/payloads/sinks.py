"""Where records go: lines of a file, or CloudEvents posted to a URL."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote
from uuid import uuid4

from service.payloads.record import to_json

if TYPE_CHECKING:
    import httpx

    from service.payloads.record import Record

HTTP = ("http://", "https://")
CLOUD_EVENT = "application/cloudevents+json; charset=utf-8"
EVENT_TYPE = "tandem.prediction"
TIMEOUT_SECONDS = 5.0
TRY_LATER = {408, 425, 429}


class SinkAway(Exception):
    """The sink takes nothing now; it may later."""


class SinkRefused(Exception):
    """The sink doesn't take this record, now or later."""


class Sink(Protocol):
    """Takes records, in one thread."""

    def send(self, record: Record) -> None:
        """Raise `SinkAway` or `SinkRefused`."""

    def close(self) -> None:
        """Give back what it holds."""


def open_sink(place: str) -> Sink:
    """Return the sink of a URL, or of a file's path."""
    return UrlSink(place) if place.startswith(HTTP) else FileSink(place)


class FileSink:
    """Appends lines of JSON to a file, which may be moved away at any time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._torn = False

    def send(self, record: Record) -> None:
        line = to_json(record.document()) + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            # What it has in it is for few eyes.
            file = os.open(self._path, flags, 0o600)
            try:
                self._append(file, line)
            finally:
                os.close(file)
        except OSError as exc:
            raise SinkAway(exc.strerror or str(exc)) from exc

    def close(self) -> None:
        """Do nothing: it is open for a line at a time."""

    def _append(self, file: int, line: bytes) -> None:
        # In one call, as other processes may append too.
        rest = b"\n" + line if self._torn else line
        while rest:
            written = os.write(file, rest)
            rest = rest[written:]
            self._torn = bool(rest)


class UrlSink:
    """Posts each record as a CloudEvent 1.0, in structured mode."""

    def __init__(self, url: str) -> None:
        # Imported for this sink alone, and at start rather than with its first record.
        import httpx

        self._url = url
        self._errors = httpx.HTTPError
        self._client: httpx.Client = httpx.Client(
            headers={"content-type": CLOUD_EVENT},
            timeout=TIMEOUT_SECONDS,
            # The machine's certificate authorities, not those that httpx brings.
            verify=ssl.create_default_context(),
            trust_env=False,
        )

    def send(self, record: Record) -> None:
        try:
            status = self._client.post(self._url, content=event(record)).status_code
        except self._errors as exc:
            raise SinkAway(str(exc) or type(exc).__name__) from exc

        if status in TRY_LATER or status >= 500:
            raise SinkAway(f"it answered with status {status}")

        if status >= 300:
            raise SinkRefused(f"it answered with status {status}")

    def close(self) -> None:
        self._client.close()


def event(record: Record) -> bytes:
    """Return a record as an event in CloudEvents' JSON format."""
    document = record.document()
    trace = {} if record.traceparent is None else {"traceparent": record.traceparent}
    return to_json(
        {
            "specversion": "1.0",
            "id": str(uuid4()),
            "source": f"/v1/models/{quote(record.model, safe='')}",
            "type": EVENT_TYPE,
            "subject": record.request_id,
            "time": document["time"],
            "datacontenttype": "application/json",
            **trace,
            "data": document,
        }
    )
