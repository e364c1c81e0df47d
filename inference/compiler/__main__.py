"""The compiler's child process: a request as JSON on stdin, events as JSON on stdout.

Untrusted model files are parsed only here, never in the server.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from inference.artifacts.failures import STARTING, cache_of
from inference.artifacts.messages import CompileEvent, CompileRequest
from inference.compiler.sandbox.confinement import confine
from inference.compiler.sandbox.limit_errors import is_system_error, limit_message
from inference.errors import InferenceError, printable
from inference.system.troubles import trouble_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[[str], None]
    Work = Callable[[CompileRequest, Report], CompileEvent]


def _compile(request: CompileRequest, report: Report) -> CompileEvent:
    report(STARTING)
    # Imported late, so that the first event is sent before TensorFlow starts, and so
    # that the process has one thread when it is confined.
    from inference.compiler.compile import compile_model

    sidecar = Path(request.sidecar) if request.sidecar else None
    warmup = Path(request.warmup) if request.warmup else None
    manifest = compile_model(
        Path(request.path),
        sidecar,
        Path(request.folder),
        report,
        permissions=request.permissions,
        warmup=warmup,
    )
    return CompileEvent(manifest=manifest)


def main(work: Work = _compile) -> None:
    """Run `work`, confined, for the request on stdin."""
    # A terminal's Ctrl-C reaches the whole process group; the server stops its child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = CompileRequest.model_validate_json(sys.stdin.buffer.read())
    send = _private_stdout()
    unconfined = confine(request)

    if unconfined:
        send(CompileEvent(unconfined=unconfined))

    try:
        send(work(request, lambda stage: send(CompileEvent(stage=stage))))
    except (InferenceError, MemoryError, OSError) as exc:
        send(_refusal(exc, request))


def _refusal(exc: Exception, request: CompileRequest) -> CompileEvent:
    # Files are written beside the artifact's folder, in the cache.
    trouble = limit_message(exc, request) or trouble_of(exc, cache_of(request))

    if trouble is not None:
        return CompileEvent(error=printable(trouble), error_type="LoadFailed")

    if not isinstance(exc, InferenceError):
        raise exc

    return CompileEvent(
        error=printable(str(exc)),
        error_type=type(exc).__name__,
        lasting=not is_system_error(exc),
    )


def _private_stdout() -> Callable[[CompileEvent], None]:
    """Return the function that sends events; send all other output to stderr."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Libraries print to stdout, which must carry nothing but events.
    os.dup2(2, 1)

    def send(event: CompileEvent) -> None:
        print(event.model_dump_json(), file=events, flush=True)

    return send


if __name__ == "__main__":
    main()
