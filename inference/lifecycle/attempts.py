"""What was tried of each version's files, what came of it, and when to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.errors import InvalidModel, InvalidSidecar
from inference.lifecycle.retries import Retries

if TYPE_CHECKING:
    from inference.lifecycle.model import Model


class Attempts:
    """Files by their fingerprint. Pure: `now` is any clock's, in seconds.

    Files that were refused are left alone until they change, and for a while even then:
    they may be written again and again. A sidecar that was refused costs nothing, so it
    is looked at again as soon as it changes. Whatever isn't the files' fault is tried
    again as they are.
    """

    def __init__(self) -> None:
        self._tried: dict[Model, str] = {}
        self._refused: set[Model] = set()
        self._retries: Retries[Model] = Retries()

    def begin(self, model: Model, fingerprint: str) -> None:
        self._tried[model] = fingerprint
        self._refused.discard(model)

    def succeed(self, model: Model) -> None:
        self._retries.forget(model)

    def fail(self, model: Model, error: Exception, reason: str, now: float) -> None:
        if isinstance(error, InvalidSidecar):
            self._refused.add(model)
            self._retries.forget(model)
            return

        self._retries.failed(model, reason, now)

        if not isinstance(error, InvalidModel):
            self._tried.pop(model, None)

    def forgive(self, model: Model) -> None:
        """Whatever failed before, try again at once."""
        self._retries.forget(model)

    def forget(self, model: Model) -> None:
        """It is gone."""
        self._tried.pop(model, None)
        self._refused.discard(model)
        self._retries.forget(model)

    def tried(self, model: Model, fingerprint: str) -> bool:
        """Whether it is known what comes of these files."""
        return self._tried.get(model) == fingerprint

    def pause(self, model: Model, now: float) -> float:
        """For how many seconds it is left alone yet."""
        failure = self._retries.failure(model, now)
        return failure.seconds if failure else 0.0

    def refused_sidecar(self, model: Model) -> bool:
        """Whether its sidecar was why it failed last."""
        return model in self._refused
