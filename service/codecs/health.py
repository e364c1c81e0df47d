"""The probes' answers as JSON: alive, started, ready, and if not, why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from inference import ModelState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference import ModelStatus

Policy: TypeAlias = Literal["any", "all", "always"]

DEAD = "a background task of the engine failed: the log has why; restart the server"
UNSETTLED = (ModelState.START, ModelState.LOADING)
NO_MODEL = "no model was found in the repository"
MAX_NAMED = 10


def liveness_document(*, alive: bool) -> dict[str, Any]:
    """Return whether the engine's tasks run; that it is asked shows the event loop."""
    return {"alive": True} if alive else {"alive": False, "reason": DEAD}


def startup_document(
    statuses: Sequence[ModelStatus], *, settled: bool
) -> dict[str, Any]:
    """Return whether the versions that were there at start have loaded or failed."""
    if settled:
        return {"started": True}

    return {"started": False, "reason": _loading(statuses)}


def readiness_document(
    statuses: Sequence[ModelStatus],
    *,
    settled: bool,
    draining: bool,
    ready_when: Policy,
    problems: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the readiness; `settled` if every version has loaded or failed.

    `problems` are those of the repository's entries that aren't served.
    """
    if draining:
        reason: str | None = "draining, as PUT /v1/admin/drain asked"
    elif ready_when == "always":
        reason = None
    elif not settled:
        reason = _loading(statuses)
    else:
        reason = _shortage(statuses, ready_when, problems)

    return {
        "ready": reason is None,
        **({} if reason is None else {"reason": reason}),
        "ready_when": ready_when,
        "settled": settled,
        "draining": draining,
        "models": {str(status.id): _readiness(status) for status in statuses},
    }


def _shortage(
    statuses: Sequence[ModelStatus], ready_when: Policy, problems: Sequence[str]
) -> str | None:
    """Return which versions are missing once all have loaded or failed, if any.

    A version that came later and still loads takes nothing away.
    """
    if not statuses:
        return ": ".join([NO_MODEL, *problems[:1]])

    failed = [str(status.id) for status in statuses if status.error is not None]
    if ready_when == "all":
        return f"failed to load: {_named(failed)}" if failed else None

    if _in_state(statuses, ModelState.AVAILABLE):
        return None

    if failed:
        return f"no version can answer; failed to load: {_named(failed)}"

    later = _in_state(statuses, *UNSETTLED)
    return _loading(statuses) if later else "no version can answer: all are unloaded"


def _loading(statuses: Sequence[ModelStatus]) -> str:
    return f"still loading: {_named(_in_state(statuses, *UNSETTLED))}"


def _in_state(statuses: Sequence[ModelStatus], *states: ModelState) -> list[str]:
    return [str(status.id) for status in statuses if status.state in states]


def _named(versions: Sequence[str]) -> str:
    shown = ", ".join(versions[:MAX_NAMED])
    more = len(versions) - MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _readiness(status: ModelStatus) -> dict[str, Any]:
    return {
        "state": str(status.state),
        "stage": status.stage,
        "error": status.error,
    }
