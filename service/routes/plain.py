"""The common part of models' direct views, whatever their protocol."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from inference import Engine, ModelNotFound, ModelSpec, Overloaded
from service.server.overload import RECORD_REFUSAL
from service.telemetry.requests import source_of
from service.telemetry.timing import header_lines
from service.web.context import SERVING
from service.web.direct import DirectAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Self

    from flask import Flask

    from inference import Array, Instance, Signature
    from service.bridge.bridge import Scope
    from service.telemetry.requests import Source
    from service.web.context import Serving

    Encode = Callable[[Mapping[str, Array]], bytes | Awaitable[bytes]]
    Asked = tuple[Signature, Mapping[str, Array], Encode]


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
        instance = self.admit(scope)
        if instance is None:
            return None

        began = time.perf_counter()
        asked = self.decode(instance, scope, body)
        if asked is None:
            return None

        if self.serving.decoders is not None:
            self.serving.decoders.traffic.record(self.spec.name)

        signature, inputs, encode = asked
        decoded = time.perf_counter() - began
        arrived = asyncio.get_running_loop().time()
        outputs, times = await instance.run(signature, inputs, arrived)
        began = time.perf_counter()
        encoded = encode(outputs)
        text = encoded if isinstance(encoded, bytes) else await encoded
        ended, version = time.perf_counter(), instance.version
        lines = header_lines(version, times, decoded, ended - began)
        return DirectAnswer(text, 200, lines, version, ended)

    def decode(self, instance: Instance, scope: Scope, body: bytes) -> Asked | None:
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
