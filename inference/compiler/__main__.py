"""The child process: one job in as JSON on stdin, events out as JSON lines on stdout.

Everything that reads a stranger's model file happens here, never in the server.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from inference.errors import InferenceError
from inference.jobs import CompileJob, Event

if TYPE_CHECKING:
    from collections.abc import Callable

LOWER_PRIORITY = 10


def main() -> None:
    job = CompileJob.model_validate_json(sys.stdin.buffer.read())
    send = _private_stdout()
    os.nice(LOWER_PRIORITY)

    try:
        send(_run(job, lambda stage: send(Event(stage=stage))))
    except InferenceError as exc:
        send(Event(error=str(exc), error_type=type(exc).__name__))
    except MemoryError:
        send(Event(error="The model needs more memory to compile than there is."))


def _run(job: CompileJob, report: Callable[[str], None]) -> Event:
    report("starting TensorFlow")
    # Late, so that the parent hears at once that its child is alive.
    from inference.compiler.compile import compile_model

    sidecar = Path(job.sidecar) if job.sidecar else None
    manifest = compile_model(Path(job.path), sidecar, Path(job.folder), report)
    return Event(manifest=manifest)


def _private_stdout() -> Callable[[Event], None]:
    """Keep stdout for events: what libraries print goes to stderr instead."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(event: Event) -> None:
        print(event.model_dump_json(exclude_none=True), file=events, flush=True)

    return send


if __name__ == "__main__":
    main()
