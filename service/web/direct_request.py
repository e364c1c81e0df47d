"""Direct requests: counted and logged, and answered on their exchange."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from service.telemetry.logs import log_request, logs_requests, request_id
from service.telemetry.requests import MAX_NOTED, OK
from service.telemetry.traces import sampled_trace
from service.web.access_log import choose_id, describe, trace_field
from service.web.direct_view import DirectAnswer
from service.web.errors import CLIENT_CLOSED_REQUEST, answer_error, reason_of
from service.web.response import readable

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Self

    from service.bridge.bridge import Scope
    from service.server.short import ShortExchange
    from service.web.direct_view import DirectView, Outcome, Waiting

logger = logging.getLogger("tandem.bridge")

LENGTH, REQUEST_ID, TRACEPARENT = b"content-length", b"x-request-id", b"traceparent"
NOTED = frozenset({LENGTH, REQUEST_ID, TRACEPARENT})
JSON_LINE = b"content-type: application/json\r\n"
LINES = JSON_LINE + b"x-request-id: %b\r\n%b"
UNFORESEEN = b'{"error": "Internal server error."}'


class DirectHead(NamedTuple):
    """A direct request's head: its view, the length of its body, its id and trace."""

    view: DirectView
    nbytes: int
    id: str
    trace: bytes | None

    @classmethod
    def of(cls, view: DirectView, headers: list[tuple[bytes, bytes]]) -> Self:
        noted = dict([each for each in headers if each[0] in NOTED])
        return cls(
            view,
            int(noted.get(LENGTH, b"0")),
            noted.get(REQUEST_ID, b"").decode("latin-1"),
            noted.get(TRACEPARENT),
        )


class Entry:
    """A direct request, to be counted and logged."""

    __slots__ = ("_bytes_in", "_scope", "_started", "_trace", "id", "view")

    def __init__(self, head: DirectHead, scope: Scope, bytes_in: int) -> None:
        self.view = head.view
        self.id = choose_id(head.id)
        self._trace = head.trace
        self._scope = scope
        self._bytes_in = bytes_in
        self._started = time.perf_counter()

    def close(self, answer: DirectAnswer) -> bytes:
        """Count and log the answer; return all of its header lines but the length."""
        ended = answer.ended or time.perf_counter()
        self._end(answer.status, ended, answer.body, answer.version)
        return LINES % (self.id.encode(), answer.lines)

    def leave(self) -> None:
        """Count and log that the client has gone."""
        self._end(CLIENT_CLOSED_REQUEST, time.perf_counter())

    def refuse(self, error: Exception) -> DirectAnswer:
        """Return the answer to an error; count the reason of a refusal."""
        if reason := reason_of(error):
            self.view.requests.refuse(reason, self.view.source(None)[0])

        told = answer_error(error)
        lines = [f"{name.lower()}: {value}\r\n" for name, value in told.headers.items()]
        body = readable({"error": told.text})
        return DirectAnswer(body, told.status, "".join(lines).encode())

    def _end(
        self,
        status: int,
        ended: float,
        body: bytes | None = None,
        version: int | None = None,
    ) -> None:
        view, seconds = self.view, ended - self._started
        noted = view.requests.noted
        noted.append((view, version, status, seconds, self._bytes_in))
        if len(noted) >= MAX_NOTED:
            view.requests.settle()

        if self._trace is not None and status == OK:
            self._exemplify(seconds, version, self._trace.decode("latin-1"))

        if not logs_requests():
            return

        fields = describe(
            method=self._scope["method"],
            path=self._scope["path"],
            status=status,
            bytes_in=self._bytes_in,
            seconds=seconds,
        )
        if body is not None:
            fields["bytes_out"] = len(body)

        fields.update(view.fields)
        if self._trace is not None:
            fields |= trace_field(self._trace.decode("latin-1"))

        log_request(fields, self.id)

    def _exemplify(self, seconds: float, version: int | None, parent: str) -> None:
        trace = sampled_trace(parent)
        if trace is not None:
            view = self.view
            view.requests.sources[view.source(version)].exemplify(seconds, trace)


class ShortRequest:
    """A request that is answered on its exchange, without a task."""

    __slots__ = ("_exchange", "_waiting", "entry")

    def __init__(self, exchange: ShortExchange, entry: Entry) -> None:
        self.entry = entry
        self._exchange = exchange
        self._waiting: Waiting | None = None

    def wait(self, waiting: Waiting | None) -> None:
        """Wait for the outcome; for `None`, let the application answer."""
        if waiting is None:
            self._exchange.decline()
            return

        self._waiting = waiting
        self._exchange.leave = self._leave

    def end(self, outcome: Outcome) -> None:
        """Answer with the outcome."""
        # They hold each other: without a cycle, all is freed at once.
        self._waiting = None
        try:
            if isinstance(outcome, DirectAnswer):
                self._answer(outcome)
            elif isinstance(outcome, Exception):
                self._refuse(outcome)
            else:
                self._exchange.spawn(self._answer_later(outcome))
        except Exception:
            logger.exception("Error while serving %s", self._exchange.scope["path"])
            self._exchange.respond(500, JSON_LINE, UNFORESEEN)

    def _answer(self, answer: DirectAnswer) -> None:
        lines = self.entry.close(answer)
        self._exchange.respond(answer.status, lines, answer.body)

    def _refuse(self, error: Exception) -> None:
        token = request_id.set(self.entry.id)
        try:
            answer = self.entry.refuse(error)
        finally:
            request_id.reset(token)

        self._answer(answer)

    async def _answer_later(self, encoding: Awaitable[DirectAnswer]) -> None:
        # In a task of its own, and so in a context of its own.
        request_id.set(self.entry.id)
        try:
            outcome: Outcome = await encoding
        except Exception as exc:
            outcome = exc

        if not self._exchange.disconnected:
            self.end(outcome)

    def _leave(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.leave()

        self.entry.leave()
