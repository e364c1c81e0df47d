"""The compiler's child process: its environment, CPU share and events."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import structlog
from anyio.streams.text import TextReceiveStream
from pydantic import ValidationError

from inference.artifacts.failures import ending_text, is_machines_fault
from inference.artifacts.messages import CompileEvent, CompileRequest
from inference.errors import LoadFailed, printable
from inference.system.blocking import in_threads
from inference.system.cpus import affinity_cpus, available_cpus
from inference.system.priority import BACKGROUND_STEPS, COMPILER_STEPS
from inference.system.troubles import trouble_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from anyio.abc import Process

    Report = Callable[[str], None]

# Characters of stderr that are kept: the cause of an abort precedes a long stack.
_STDERR_TAIL = 16000
MAX_EVENT = 64 * 2**20
"""Most characters of one event: three times a manifest of very many weights."""

_SHOWN = 200
"""Most characters shown of each part of an invalid message."""

_TOO_LONG = (
    f"The compiler's message about the model is longer than {MAX_EVENT:,} characters: "
    "the model has too many names, or values where names are expected."
)
KEPT_VARIABLES = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "MALLOC_ARENA_MAX",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONPYCACHEPREFIX",
        "PYTHONUTF8",
        "PYTHONWARNINGS",
        "TF_CPP_MIN_LOG_LEVEL",
        "TF_ENABLE_ONEDNN_OPTS",
        "TF_OVERRIDE_GLOBAL_THREADPOOL",
        "TZ",
        "VIRTUAL_ENV",
    }
)
"""Any other variable may be a secret, or change the behaviour of libraries."""

_PATHS = ("LD_LIBRARY_PATH", "PYTHONPATH")
_POOLS = (
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)

_reported: set[str] = set()

log = structlog.get_logger("tandem.engine")


async def run_child(request: CompileRequest, report: Report) -> CompileEvent:
    """Run the compiler on `request`; return its last event, an error or the manifest.

    A child that is killed or crashes gives an error too. It works in a temporary folder
    beside the artifact's.
    """
    last = CompileEvent()
    stage = ""
    stderr: list[str] = []
    made = _scratch(Path(request.folder).parent)

    async with in_threads(made, anyio.CapacityLimiter(1)) as scratch:
        async with (
            await _open(scratch, request.background) as process,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(partial(_collect, process, stderr))
            await _send(process, request)

            async for event in _events(process):
                if event.stage is not None:
                    stage = event.stage
                    report(stage)
                elif event.unconfined is not None:
                    _log_unconfined(event.unconfined)
                else:
                    last = event

    if last.error is None and last.manifest is None:
        how = process.returncode, "".join(stderr), stage
        return CompileEvent(
            error=ending_text(request, *how),
            error_type="LoadFailed" if is_machines_fault(*how) else "InvalidModel",
        )

    return last


@contextlib.contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="compiler-", dir=beside) as scratch:
        yield Path(scratch)


async def _open(scratch: Path, background: bool) -> Process:
    threads = compiler_threads(background=background)

    try:
        process = await anyio.open_process(
            [sys.executable, "-P", "-m", "inference.compiler"],
            cwd=scratch,
            env=compiler_environment(scratch, threads=threads),
        )
    except OSError as exc:
        helps = trouble_of(exc, sys.executable) or f"{exc.strerror}: {sys.executable}."
        raise LoadFailed(
            f"The compiler can't be started. {helps} If that is gone or was updated, "
            "start the server again."
        ) from exc

    # Before its first import, not by itself after those.
    give_share(process.pid, background=background)
    return process


async def _send(process: Process, request: CompileRequest) -> None:
    assert process.stdin is not None
    message = request.model_copy(update={"parent": os.getpid()})

    try:
        await process.stdin.send(message.model_dump_json().encode())
        await process.stdin.aclose()
    except (anyio.BrokenResourceError, ConnectionError):
        # The child has ended; its exit code says why.
        return


async def _events(process: Process) -> AsyncIterator[CompileEvent]:
    """Yield the child's events; an invalid message becomes an error.

    A valid one may still follow, and then counts instead.
    """
    async for line in _lines(process):
        try:
            yield CompileEvent.model_validate_json(line)
        except ValidationError as exc:
            yield CompileEvent(
                error=_invalid_message(line, exc), error_type="LoadFailed"
            )


def _invalid_message(line: str, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"])) or "the whole"
    return (
        "The compiler sent a message that the server doesn't understand "
        f"({_shown(place)}: {_shown(first['msg'])}): '{_shown(line)}'. The model may "
        "be valid. Make sure that one version of Tandem is installed, and start the "
        "server again."
    )


def _shown(text: str) -> str:
    # Keys and values in a message may be of any length and of any characters.
    return printable(text[:_SHOWN]) + ("…" if len(text) > _SHOWN else "")


async def _lines(process: Process) -> AsyncIterator[str]:
    """Yield lines of stdout; kill a child whose line never ends."""
    assert process.stdout is not None
    parts: list[str] = []
    size = 0

    async for text in TextReceiveStream(process.stdout, errors="replace"):
        first, *others = text.split("\n")
        parts.append(first)
        size += len(first)

        for other in others:
            yield "".join(parts)
            parts, size = [other], len(other)

        if size > MAX_EVENT:
            process.kill()
            yield CompileEvent(error=_TOO_LONG).model_dump_json()
            return


async def _collect(process: Process, stderr: list[str]) -> None:
    assert process.stderr is not None

    async for text in TextReceiveStream(process.stderr, errors="replace"):
        stderr.append(text)
        stderr[:] = ["".join(stderr)[-_STDERR_TAIL:]]


def _log_unconfined(unconfined: tuple[str, ...]) -> None:
    """Log each confinement that the system refuses once, not for every child."""
    for what in unconfined:
        if what not in _reported:
            _reported.add(what)
            log.info("the compiler's child runs without", confinement=what)


def compiler_environment(
    scratch: Path, *, threads: int, given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the child's environment: `scratch` as home, `threads` in each pool.

    `given` is the server's own by default.
    """
    given = os.environ if given is None else given
    kept = {name: value for name, value in given.items() if name in KEPT_VARIABLES}
    # The child works in another folder, where relative paths would differ.
    absolute = {name: _absolute(kept[name]) for name in _PATHS if name in kept}
    pools = dict.fromkeys(_POOLS, str(threads))
    home = dict.fromkeys(("HOME", "TMPDIR"), str(scratch))
    return kept | absolute | pools | home


def _absolute(paths: str) -> str:
    return os.pathsep.join(
        os.path.abspath(path) for path in paths.split(os.pathsep) if path
    )


def compiler_threads(*, background: bool) -> int:
    """Return the compiler's threads: all CPUs, in the `background` half, at least 1."""
    # A low priority isn't enough: a container that uses up its share of CPU time is
    # paused as a whole, and a thread that wakes may wait for the kernel's next tick.
    cpus = available_cpus()
    return max(1, cpus // 2) if background else cpus


def give_share(process: int, *, background: bool) -> None:
    """Lower the priority of a new `process` and limit it to its CPUs."""
    steps = BACKGROUND_STEPS if background else COMPILER_STEPS

    # It may have ended already; a sandbox may forbid the change.
    with contextlib.suppress(OSError):
        level = os.getpriority(os.PRIO_PROCESS, 0) + steps
        os.setpriority(os.PRIO_PROCESS, process, level)

        if background:
            _keep_to_half(process)


def _keep_to_half(process: int) -> None:
    # A container's share of time is of no CPUs in particular: bound to some of them, it
    # would compete with other containers there.
    if not hasattr(os, "sched_setaffinity") or available_cpus() < affinity_cpus():
        return

    chosen = sorted(os.sched_getaffinity(0))[-compiler_threads(background=True) :]
    os.sched_setaffinity(process, chosen)
