"""The common part of models' direct views, whatever their protocol."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from inference import Engine, ModelNotFound, ModelSpec, Overloaded
from service.server.overload import RECORD_REFUSAL
from service.telemetry.requests import source_of
from service.telemetry.timing import header_lines
from service.web.context import SERVING
from service.web.direct_view import DirectAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Self

    from flask import Flask

    from inference import Array, Call, Instance, Signature, Times
    from service.bridge.bridge import Scope
    from service.telemetry.requests import Source
    from service.web.context import Serving
    from service.web.direct_view import Then

    Encode = Callable[[Mapping[str, Array]], bytes | Awaitable[bytes]]
    Decoded = tuple[Signature, Mapping[str, Array], Encode]
    Later = Awaitable[DirectAnswer]


class Asked(NamedTuple):
    """A plain request: `decode` is how long its body took, in seconds."""

    instance: Instance
    signature: Signature
    inputs: Mapping[str, Array]
    encode: Encode
    decode: float

    def answer(
        self, outputs: Mapping[str, Array], times: Times
    ) -> DirectAnswer | Later:
        """Return the answer; one that takes longer to encode is to be awaited."""
        began = time.perf_counter()
        encoded = self.encode(outputs)
        if isinstance(encoded, bytes):
            return self._answer(encoded, times, began)

        return self._answer_later(encoded, times, began)

    async def _answer_later(
        self, encoding: Awaitable[bytes], times: Times, began: float
    ) -> DirectAnswer:
        return self._answer(await encoding, times, began)

    def _answer(self, text: bytes, times: Times, began: float) -> DirectAnswer:
        ended, version = time.perf_counter(), self.instance.version
        lines = header_lines(version, times, self.decode, ended - began)
        return DirectAnswer(text, 200, lines, version, ended)


class Underway:
    """A request that waits for its model, without a task.

    `then` gets the answer, what is to be awaited for it, or the error, unless `leave`
    was called.
    """

    __slots__ = ("_asked", "_call", "_then")

    def __init__(self, asked: Asked, then: Then) -> None:
        self._asked, self._then = asked, then
        now = asyncio.get_running_loop().time()
        self._call = asked.instance.start(asked.signature, asked.inputs, now, self._end)

    def leave(self) -> None:
        """Wait no more: the client has gone."""
        self._asked.instance.leave(self._call)

    def _end(self, call: Call) -> None:
        try:
            outcome = self._asked.answer(call.outcome(), call.times)
        except Exception as exc:
            self._then(exc)
        else:
            self._then(outcome)


class PlainView:
    """A `DirectView` of one model's path, to be completed by a protocol.

    All that isn't plain goes through Flask: a model that must be loaded first, whose
    predictions are jobs or cached; a body with options; and each that is wrong, for the
    words that say why.
    """

    protocol: ClassVar[str]

    def __init__(self, serving: Serving, spec: ModelSpec) -> None:
        self.fields = {"model": spec.name}
        self.serving = serving
        self.requests = serving.requests
        self.spec = spec

    @classmethod
    def prepare(
        cls,
        app: Flask,
        *,
        name: str,
        version: int | None = None,
        label: str | None = None,
    ) -> Self | None:
        """Return the view of a path; `None` if the engine predicts in its own way."""
        serving: Serving = app.extensions[SERVING]
        if type(serving.engine).predict is not Engine.predict:
            return None

        return cls(serving, ModelSpec(name=name, version=version, label=label))

    async def __call__(self, scope: Scope, body: bytes) -> DirectAnswer | None:
        asked = self._ask(scope, body)
        if asked is None:
            return None

        instance, arrived = asked.instance, asyncio.get_running_loop().time()
        ran = await instance.run(asked.signature, asked.inputs, arrived)
        answer = asked.answer(*ran)
        return answer if isinstance(answer, DirectAnswer) else await answer

    def start(self, scope: Scope, body: bytes, then: Then) -> Underway | None:
        asked = self._ask(scope, body)
        return None if asked is None else Underway(asked, then)

    def _ask(self, scope: Scope, body: bytes) -> Asked | None:
        instance = self.admit(scope)
        if instance is None:
            return None

        began = time.perf_counter()
        decoded = self.decode(instance, scope, body)
        if decoded is None:
            return None

        if self.serving.decoders is not None:
            self.serving.decoders.traffic.record(self.spec.name)

        return Asked(instance, *decoded, time.perf_counter() - began)

    def decode(self, instance: Instance, scope: Scope, body: bytes) -> Decoded | None:
        """Return the signature, its bound inputs, and how to encode the outputs.

        `None` for a request that isn't plain. Long outputs are encoded in pieces, with
        turns for other requests in between.
        """
        raise NotImplementedError

    def not_found(self, error: ModelNotFound) -> Exception:
        """Return `error` in the protocol's words."""
        return error

    def admit(self, scope: Scope) -> Instance | None:
        """Return the version that answers at once, if there is one.

        Raise what `Engine.admit_to_resident` raises; record an `Overloaded`.
        """
        engine = self.serving.engine
        try:
            return engine.admit_to_resident(self.spec)
        except ModelNotFound as exc:
            raise self.not_found(exc) from None
        except Overloaded:
            if RECORD_REFUSAL in scope:
                check = partial(engine.admit, self.spec)
                scope[RECORD_REFUSAL](scope, check, self.source(None))

            raise

    def source(self, version: int | None) -> Source:
        if version is None:
            return source_of(self.serving.engine, self.spec, self.protocol)

        return self.spec.name, version, self.protocol
