"""Predictions as they pass: some of them are noted for the payload log."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from anyio import CapacityLimiter

from service.payloads.body import BodyNotes
from service.payloads.record import Record
from service.payloads.redaction import Redaction
from service.telemetry.timing import VERSION_HEADER
from service.telemetry.traces import trace_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, MutableMapping

    from service.payloads.log import PayloadLog
    from service.telemetry.route import Route

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

VERSION = VERSION_HEADER.lower().encode()
ACCEPTED, UNAUTHORIZED, FORBIDDEN = 202, 401, 403
APPLIED = b"preference-applied"

log = structlog.get_logger("tandem.payloads")


@dataclass(frozen=True, slots=True, kw_only=True)
class TapConfig:
    """Which predictions are noted: a `share` of them, up to `max_bytes` a body.

    `redact` are inputs whose values are replaced. `find` tells the route of a method
    and path, `inputs` the names of a model's inputs, none if they aren't known.
    """

    share: float
    max_bytes: int
    redact: frozenset[str]
    find: Callable[[str, str], Route | None]
    inputs: Callable[[str], Collection[str]]


class PayloadTap:
    """Serves `application`, and puts some predictions into a payload log."""

    def __init__(
        self, application: Application, log: PayloadLog, config: TapConfig
    ) -> None:
        self._application = application
        self._log = log
        self._config = config
        self._told: set[str] = set()
        # Long pieces are hashed one at a time.
        self._limiter = CapacityLimiter(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        model = self._wanted(scope)
        if model is None:
            await self._application(scope, receive, send)
            return

        passing = _Passing(receive, send, self._config.max_bytes, self._limiter)
        await self._application(scope, passing.receive, passing.send)
        if passing.is_told:
            self._log.put(passing.record(scope, model, self._redaction(model)))

    def _wanted(self, scope: Scope) -> str | None:
        """Return the model that a request asks, if it is one to be noted."""
        if scope["type"] != "http" or random.random() >= self._config.share:
            return None

        path, prefix = scope["path"], scope.get("root_path", "")
        below = path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
        route = self._config.find(scope["method"], below)
        return route.model if route is not None and route.predicts else None

    def _redaction(self, model: str) -> Redaction:
        names = self._config.redact
        if not names:
            return Redaction()

        inputs = self._config.inputs(model)
        if inputs and names.isdisjoint(inputs) and model not in self._told:
            self._told.add(model)
            # A name that is misspelt would show what was to be hidden.
            log.warning(
                "payload log redacts nothing of this model: it has no such input",
                model=model,
                inputs=sorted(inputs),
                redact=sorted(names),
            )

        only = len(inputs) == 1 and names.isdisjoint(inputs)
        return Redaction(names=names, unnamed=not only)


class _Passing:
    """One request and its answer, noted while they pass."""

    def __init__(
        self, receive: Receive, send: Send, max_bytes: int, limiter: CapacityLimiter
    ) -> None:
        self._receive = receive
        self._send = send
        self._request = BodyNotes(max_bytes, limiter)
        self._response = BodyNotes(max_bytes, limiter)
        self._began = datetime.now(UTC)
        self._started = time.perf_counter()
        self._status = 0
        self._headers: dict[bytes, bytes] = {}

    @property
    def is_told(self) -> bool:
        """Return true for an answer of a model's, or a reason why there is none.

        What becomes a job is told when that runs.
        """
        later = self._status == ACCEPTED or APPLIED in self._headers
        return not later and self._status not in (0, UNAUTHORIZED, FORBIDDEN)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            await self._request.add(message.get("body", b""))

        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {name.lower(): value for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            await self._response.add(message.get("body", b""))

        await self._send(message)

    def record(self, scope: Scope, model: str, redaction: Redaction) -> Record:
        headers = dict(scope["headers"])
        version = self._headers.get(VERSION, b"")
        parent = headers.get(b"traceparent", b"").decode("latin-1")
        trace = trace_of(parent)
        return Record(
            time=self._began,
            seconds=time.perf_counter() - self._started,
            path=scope["path"],
            model=model,
            version=int(version) if version.isdigit() else None,
            status=self._status,
            request_id=self._headers.get(b"x-request-id", b"").decode("latin-1"),
            trace_id=trace,
            traceparent=None if trace is None else parent,
            request=self._request.body(headers),
            response=self._response.body(self._headers),
            redaction=redaction,
        )
