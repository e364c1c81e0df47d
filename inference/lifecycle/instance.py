"""One load of a version: its servable in memory, its batcher and its leases."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from inference.batching import clock
from inference.batching.batcher import Batcher
from inference.batching.call import Call
from inference.errors import DeadlineExceeded, UnknownSignature
from inference.inputs.binding import bind
from inference.inputs.seeds import samples_of, with_masks
from inference.inputs.selection import check_request, select_outputs
from inference.inputs.statistics import Statistics
from inference.inputs.top_k import LARGE, best_classes
from inference.runtime.image_decoding import decode_images, has_images
from inference.system.cpus import available_cpus
from inference.types import PredictResult, Times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from anyio.abc import TaskStatus

    from inference.artifacts.artifact import Manifest
    from inference.runtime.opening import Loaded
    from inference.types import (
        Array,
        ModelId,
        PredictRequest,
        Sampling,
        Signature,
        TensorSpec,
    )


class Instance:
    """A loaded version. A lease is a `with` block; `end` waits for the last one.

    `released` is called when the last lease ends. `last_used` is when the last request
    came, or when it was loaded, by `time.monotonic`. `codec` is for those who decode
    its requests. To be used on the event loop's
    thread, while `serve` runs.
    """

    def __init__(
        self, loaded: Loaded, *, version: int, released: Callable[[], None]
    ) -> None:
        self.loaded = loaded
        self.version = version
        self.batcher = Batcher(loaded)
        self.nbytes = loaded.nbytes
        self.codec: object = None
        self.used = False
        self.last_used = time.monotonic()
        self._released = released
        self._leases = 0
        self._idle: anyio.Event | None = None
        self._scope = anyio.CancelScope()
        self._closed = anyio.Event()
        self._sorting = anyio.CapacityLimiter(1)
        self._decoding = anyio.CapacityLimiter(available_cpus())

    @property
    def idle(self) -> bool:
        return not self._leases

    def __enter__(self) -> Instance:
        self._leases += 1
        self.used = True
        self.last_used = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._leases -= 1

        if not self._leases:
            self._released()

            if self._idle is not None:
                self._idle.set()

    async def predict(
        self,
        model: ModelId,
        request: PredictRequest,
        *,
        arrived: float,
        deadline: float,
    ) -> PredictResult:
        """Bind the inputs and run them, batched with other requests where possible.

        `arrived` and `deadline` are by `anyio.current_time`. Raises `InvalidRequest`,
        `UnknownSignature`, `InputMismatch`, `Overloaded`, `DeadlineExceeded`,
        `ExecutionFailed`.
        """
        with self:
            began = time.perf_counter()
            signature = self._signature(model, request.signature)
            names = select_outputs(signature, request.outputs)
            check_request(signature, names, request)
            bound: Mapping[str, Array] = bind(signature, request.inputs, request.exact)

            if has_images(signature, bound):
                bound = await self._decode(signature, bound, deadline)

            inputs = with_masks(signature, bound, request.sampling)
            call = partial(
                Call, signature, outputs=names, arrived=arrived, deadline=deadline
            )
            bind_seconds = time.perf_counter() - began
            outputs, times = await self._submit(
                signature, inputs, call, request.sampling
            )

            if request.top_k is not None:
                spec = signature.outputs[names[0]]
                outputs = await self._best(spec, outputs[names[0]], request.top_k)

        return PredictResult(
            model=model,
            signature=signature,
            outputs=outputs,
            digest=self.loaded.digest,
            classes=self.loaded.classes,
            times=times._replace(bind=bind_seconds),
        )

    async def _decode(
        self, signature: Signature, inputs: Mapping[str, Array], deadline: float
    ) -> Mapping[str, Array]:
        """Decode images in a thread; the request counts as waiting meanwhile."""
        left = deadline - anyio.current_time()

        with self.batcher.reserve(left), anyio.CancelScope(deadline=deadline):
            return await anyio.to_thread.run_sync(
                decode_images,
                signature,
                inputs,
                self.loaded.preprocessing,
                time.monotonic() + left,
                limiter=self._decoding,
            )

        raise DeadlineExceeded(
            "The request's time is over: its images were waiting to be decoded."
        )

    async def _submit(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        call: Callable[[Mapping[str, Array]], Call],
        sampling: Sampling,
    ) -> tuple[Mapping[str, Array], Times]:
        """Run the inputs once, or as many times as samples are asked for."""
        if sampling.samples:
            samples = samples_of(signature, inputs, sampling)
            return await self._collect(map(call, samples), sampling)

        one = call(inputs)
        return await self.batcher.submit(one), one.times

    async def _collect(
        self, calls: Iterable[Call], sampling: Sampling
    ) -> tuple[Mapping[str, Array], Times]:
        """Run calls one after the other; return the statistics of their answers."""
        found = Statistics(sampling.samples or 0, keep=sampling.keep)
        queue = compute = 0.0

        for call in calls:
            (sample,) = (await self.batcher.submit(call)).values()
            found.add(sample)
            queue += call.times.queue
            compute += call.times.compute

        return found.outputs(), Times(queue=queue, compute=compute)

    async def _best(
        self, spec: TensorSpec, scores: Array, k: int
    ) -> Mapping[str, Array]:
        best = partial(best_classes, spec, scores, k, self.loaded.classes)

        if scores.size <= LARGE:
            return best()

        return await anyio.to_thread.run_sync(best, limiter=self._sorting)

    async def run(
        self, signature: Signature, inputs: Mapping[str, Array], arrived: float
    ) -> tuple[Mapping[str, Array], Times]:
        """Run bound `inputs` for the usual outputs, within the model's own time.

        For a request that `check` has let in a moment ago. Raises what `predict`
        raises for the model's sake.
        """
        with self:
            call = self._call(signature, inputs, arrived)
            outputs = await self.batcher.run(call)
            return outputs, call.times

    def start(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        arrived: float,
        then: Callable[[Call], None],
    ) -> Call:
        """Start to run bound `inputs`, as `run` does; call `then` once that has ended.

        Unless `leave` was called before. Raises `Unavailable`.
        """
        call = self._call(signature, inputs, arrived, partial(self._end_call, then))
        self.batcher.start(call)
        self.__enter__()
        return call

    def leave(self, call: Call) -> None:
        """Wait no more for a call that was started; one that runs goes on."""
        if call.forget():
            self.batcher.leave(call)
            self.__exit__()

    def _end_call(self, then: Callable[[Call], None], call: Call) -> None:
        if call.error is not None:
            self.batcher.statistics.fail(clock.now() - call.arrived)

        self.batcher.leave(call)
        self.__exit__()
        then(call)

    def _call(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        arrived: float,
        then: Callable[[Call], None] | None = None,
    ) -> Call:
        return Call(
            signature,
            inputs,
            signature.usual,
            arrived=arrived,
            deadline=arrived + self.loaded.limits.timeout_seconds,
            then=then,
        )

    @property
    def default_signature(self) -> Signature | None:
        """The signature of a request that names none, if it can be served."""
        servable = self.loaded.servable
        return servable.signatures.get(servable.manifest.default_signature)

    def _signature(self, model: ModelId, name: str | None) -> Signature:
        servable = self.loaded.servable
        wanted = name or servable.manifest.default_signature

        if wanted not in servable.signatures:
            raise UnknownSignature(
                f"{_missing_signature(model, wanted, servable.manifest)}; it has: "
                f"{', '.join(sorted(servable.signatures))}."
            )

        return servable.signatures[wanted]

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Run calls until `end` or cancellation; then free the memory."""
        try:
            with self._scope:
                await self.batcher.serve(task_status=task_status)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self.loaded.servable.close)

            self._closed.set()

    async def end(self) -> None:
        """Return when the last lease has ended and the memory is free.

        No lease may begin from now on.
        """
        while self._leases:
            self._idle = self._idle or anyio.Event()
            await self._idle.wait()
            self._idle = None

        self._scope.cancel()
        await self._closed.wait()


def _missing_signature(model: ModelId, wanted: str, manifest: Manifest) -> str:
    reason = manifest.left_out.get(wanted)

    if reason is None:
        return (
            f'Serving signature name: "{wanted}" not found in signature def of'
            f" {model.title}"
        )

    default = ", its default," if wanted == manifest.default_signature else ""
    return (
        f"The signature '{wanted}' of model '{model.name}'{default} can't be served: "
        f"{reason}. Name another in the request"
    )
