"""One model of a repository in this process, without a server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.to_thread

from inference.artifacts.builder import builder_for
from inference.errors import ModelNotFound, UnknownSignature, VersionNotFound
from inference.inputs.binding import bind
from inference.inputs.casting import cast_inputs
from inference.inputs.composites import put_together
from inference.repository.snapshot import RepositoryScanner
from inference.runtime.image_decoding import decode_images, has_images
from inference.runtime.loader import Loader
from inference.system.priority import lower_priority

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inference.config import EngineConfig
    from inference.inputs.composites import Output
    from inference.limits import Batching
    from inference.repository.scan import ModelFiles
    from inference.repository.snapshot import RepositorySnapshot
    from inference.runtime.loader import Prepared
    from inference.runtime.opening import Loaded
    from inference.types import ModelId, Signature


class OfflineModel:
    """A loaded model, whose `run` blocks; `concurrency` threads call it best.

    `key` names all that its answers depend on. Use it as a context manager, which
    closes it.
    """

    def __init__(self, prepared: Prepared, loaded: Loaded) -> None:
        self.id: ModelId = prepared.files.id
        self.key = prepared.digest
        self.concurrency = loaded.concurrency
        self._loaded = loaded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loaded.servable.close()

    def signature(self, name: str | None = None) -> Signature:
        """Return a signature, the default without a name. Raise `UnknownSignature`."""
        servable = self._loaded.servable
        wanted = name or servable.manifest.default_signature
        found = servable.signatures.get(wanted)

        if found is not None:
            return found

        why = servable.manifest.left_out.get(wanted)
        known = ", ".join(sorted(servable.signatures))
        raise UnknownSignature(
            f"The signature '{wanted}' can't be served: {why}."
            if why
            else f"{self.id.title} has no signature '{wanted}'; it has: {known}."
        )

    def batching(self, signature: Signature) -> Batching:
        return self._loaded.plans[signature.name]

    def run(
        self, signature: Signature, inputs: Mapping[str, Any]
    ) -> Mapping[str, Output]:
        """Return the usual outputs for inputs as `PredictRequest` has them.

        Arrays of numbers may be of another dtype that fits. Any thread may call it.
        Raise `InputMismatch`, `ExecutionFailed`, `DeadlineExceeded`.
        """
        lower_priority()
        bound = bind(signature, cast_inputs(signature, inputs))

        if has_images(signature, bound):
            how = self._loaded.preprocessing
            bound = decode_images(signature, bound, how, math.inf)

        return put_together(signature, self._loaded.servable.run(signature.name, bound))


async def open_model(
    config: EngineConfig,
    name: str | None = None,
    version: int | None = None,
    *,
    report: Callable[[ModelId, str], None],
) -> OfflineModel:
    """Compile a model of the configured repository, unless it is cached, and load it.

    Without a name the repository has one model alone; without a version it is the
    newest that the sidecar asks for. `report` gets the stages. Raise `InferenceError`
    with the reason, `OSError` if the repository can't be read.
    """
    scanner = RepositoryScanner(
        config.repository, quiet_seconds=0, follow=config.permissions.follow_links_to
    )
    found = await anyio.to_thread.run_sync(
        scanner.scan, limiter=anyio.CapacityLimiter(1)
    )
    files = _pick(found, name, version)
    loader = Loader(builder_for(config), config.limits)
    prepared = await loader.prepare(
        files, lambda stage: report(files.id, stage), retry=True
    )
    report(files.id, "loading")
    return OfflineModel(prepared, await loader.open(prepared))


def _pick(
    found: RepositorySnapshot, name: str | None, version: int | None
) -> ModelFiles:
    """Return a model's files. Raise `ModelNotFound`, `VersionNotFound`."""
    known = ", ".join(sorted(found.models))

    if not found.models:
        raise ModelNotFound(
            " ".join(["There is no model that can be served.", *found.problems])
        )

    if name is None and len(found.models) > 1:
        raise ModelNotFound(f"There are several models, of which to name one: {known}.")

    model = found.models.get(name or known)

    if model is None:
        reasons = found.passed_over.get(name or "", ())
        raise ModelNotFound(
            " ".join([f"There is no model '{name}'; there are: {known}.", *reasons])
        )

    wanted = max(model.wanted(), default=None) if version is None else version

    if wanted is None or wanted not in model.versions:
        numbers = ", ".join(map(str, sorted(model.versions)))
        raise VersionNotFound(
            f"Model '{model.name}' has no version {wanted}; it has: {numbers}."
        )

    return model.versions[wanted].files
