"""The document that the page shows, and what changes in it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from inference import by_whole, show_shape, whole_shape
from service.codecs.jobs import job_document
from service.dashboard.readings import TOTAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inference import EngineStatus, ModelId, ModelStatus, TensorSpec
    from service.dashboard.readings import Rates, Reading
    from service.jobs.job import Job

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveJobs:
    """Jobs by status, and the newest of those that run or wait."""

    counts: Mapping[str, int]
    newest: Sequence[Job]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that the page shows. `jobs` is `None` where their store can't be read."""

    models: Sequence[ModelStatus]
    engine: EngineStatus
    reading: Reading
    problems: Sequence[str] = ()
    jobs: ActiveJobs | None = None
    version: str = ""
    admin: bool = False


class Versions:
    """Documents of versions; one that stays as it was has the same document again.

    That of hundreds of models that rest costs little, each second.
    """

    def __init__(self) -> None:
        self._made: dict[ModelId, tuple[ModelStatus, Document, Document]] = {}

    def documents(self, models: Sequence[ModelStatus], rates: Rates) -> list[Document]:
        """Return the documents in the order of `models`; others are forgotten."""
        before, self._made = self._made, {}
        return [self._document(each, rates, before.get(each.id)) for each in models]

    def _document(
        self,
        status: ModelStatus,
        rates: Rates,
        known: tuple[ModelStatus, Document, Document] | None,
    ) -> Document:
        figures = rates.document((status.id.name, str(status.id.version)))
        if known is None or known[:2] != (status, figures):
            known = status, figures, _version(status, figures)

        self._made[status.id] = known
        return known[2]


def overview(state: State, rates: Rates, versions: Versions) -> Document:
    """Return the whole document but its history; URLs are for clients to add."""
    documents = zip(state.models, versions.documents(state.models, rates), strict=True)
    groups = groupby(documents, key=lambda each: each[0].id.name)
    return {
        "server": _server(state, rates),
        "models": [
            {"name": name, "versions": [document for _, document in group]}
            for name, group in groups
        ],
        "jobs": None if state.jobs is None else _jobs(state.jobs),
    }


def changes(before: Document, now: Document) -> Document:
    """Return what turns `before` into `now`; models are whole, and removed by name.

    Documents of versions that are the same objects aren't looked into.
    """
    known = {each["name"]: each for each in before["models"]}
    names = {each["name"] for each in now["models"]}
    return {
        "server": now["server"],
        "models": [each for each in now["models"] if known.get(each["name"]) != each],
        "removed": sorted(known.keys() - names),
        "jobs": now["jobs"],
    }


def _server(state: State, rates: Rates) -> Document:
    engine, reading = state.engine, state.reading
    return {
        "version": state.version,
        "admin": state.admin,
        "draining": engine.draining,
        "repository_error": engine.repository_error,
        "problems": list(state.problems),
        "memory_bytes": reading.memory_bytes,
        "memory_budget_bytes": reading.budget_bytes,
        "loads": engine.loads,
        "evictions": engine.evictions,
        "running": sum(each.queue.running for each in state.models),
        "waiting": sum(each.queue.waiting for each in state.models),
        **rates.document(TOTAL),
    }


def _version(status: ModelStatus, figures: Document) -> Document:
    signature = status.signatures.get(status.default_signature or "")
    last_used = status.last_used
    return {
        "version": status.id.version,
        "state": str(status.state),
        "stage": status.stage,
        "error": status.error,
        "update_error": status.update_error,
        "format": status.format,
        "labels": list(status.labels),
        "pinned": status.pinned,
        "inputs": "" if signature is None else shown(signature.inputs),
        "outputs": "" if signature is None else shown(signature.outputs),
        "memory_bytes": status.memory_bytes,
        # Finer times would make each model in use one that changed.
        "last_used": None if last_used is None else int(last_used),
        "concurrency": status.concurrency,
        "running": status.queue.running,
        "waiting": status.queue.waiting,
        **figures,
    }


def shown(specs: Mapping[str, TensorSpec]) -> str:
    """Return tensors on a line, `image: float32[?, 28, 28]`; composite ones as one."""
    return ", ".join(
        f"{name}: {parts[0].dtype if parts[0].part is None else parts[0].part.kind}"
        f"{show_shape(whole_shape(parts))}"
        for name, parts in by_whole(specs).items()
    )


def _jobs(jobs: ActiveJobs) -> Document:
    return {
        "counts": dict(jobs.counts),
        "active": [job_document(each, "") for each in jobs.newest],
    }
