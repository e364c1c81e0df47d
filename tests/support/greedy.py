"""`python greedy.py WHAT [ARGUMENT]`: stands where the compiler would, as confined.

Does one thing that the compiler should be kept from, and tells how that went.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from inference.artifacts.artifact import Artifact
from inference.artifacts.messages import CompileEvent
from inference.compiler.__main__ import main
from inference.errors import InvalidModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.artifacts.messages import CompileRequest

ARGUMENT = sys.argv[2] if len(sys.argv) > 2 else ""


def work(request: CompileRequest, report: Callable[[str], None]) -> CompileEvent:
    report(str(os.getpid()))

    if sys.argv[1] == "copy":
        return copied(Artifact(Path(ARGUMENT)), Path(request.folder))

    said = WORKS[sys.argv[1]](request)
    raise InvalidModel(said or "nothing happened")


def copied(made: Artifact, folder: Path) -> CompileEvent:
    """Give what was compiled before: TensorFlow isn't started."""
    shutil.copytree(made.folder, folder, dirs_exist_ok=True)
    return CompileEvent(manifest=made.read_manifest())


def compile_each(request: CompileRequest) -> str:
    """Compile the models of a list, as each has its own child otherwise."""
    # Imported late, as the compiler does: it is confined with one thread.
    from inference.compiler.compile import compile_model

    refusals = []

    for path in Path(ARGUMENT).read_text().splitlines():
        try:
            compile_model(Path(path), None, Path(request.folder), lambda _: None)
        except InvalidModel as exc:
            refusals.append(str(exc))

    return json.dumps(refusals)


def take_memory(request: CompileRequest) -> str:
    taken = [bytearray(2**24) for _ in range(2**6)]
    return f"took {len(taken)}"


def fail_to_allocate(request: CompileRequest) -> str:
    sys.stderr.write("terminate called, what():  std::bad_alloc\n    @  0x7  f()\n")
    sys.stderr.flush()
    os.abort()


def take_time(request: CompileRequest) -> str:
    while True:
        pass


def interrupt(request: CompileRequest) -> str:
    """Send the signal of a terminal's Ctrl-C, which reaches the whole process group."""
    os.kill(os.getpid(), signal.SIGINT)
    return "went on"


def write_much(request: CompileRequest) -> str:
    with open("much", "wb") as file:
        file.seek(int(ARGUMENT))
        file.write(b"x")

    return "wrote"


def open_many(request: CompileRequest) -> str:
    files = [open(os.devnull) for _ in range(2000)]
    return f"opened {len(files)}"


def wait(request: CompileRequest) -> str:
    signal.pause()
    return "woken"


def connect(request: CompileRequest) -> str:
    return _outcome(
        lambda: socket.create_connection(("127.0.0.1", int(ARGUMENT)), timeout=5)
    )


def write_elsewhere(request: CompileRequest) -> str:
    place = Path(ARGUMENT)
    return json.dumps(
        [
            _outcome(lambda: (place / "new").write_text("")),
            _outcome(lambda: (place / "old").write_text("")),
            _outcome(lambda: (place / "old").unlink()),
            _outcome(lambda: (place / "old").rename("stolen")),
            _outcome(lambda: Path("scratch").write_text("")),
            _outcome(lambda: Path(request.folder, "graph.pb").write_text("")),
            _outcome(lambda: Path(os.devnull).write_text("")),
        ]
    )


def start_a_program(request: CompileRequest) -> str:
    return _outcome(lambda: subprocess.run(["/bin/true"], check=True))


def signal_the_parent(request: CompileRequest) -> str:
    return _outcome(lambda: os.kill(os.getppid(), 0))


def tell_surroundings(request: CompileRequest) -> str:
    return json.dumps({"cwd": os.getcwd(), **os.environ})


def tell_status(request: CompileRequest) -> str:
    return Path("/proc/self/status").read_text()


def _outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError as exc:
        return type(exc).__name__

    return "done"


WORKS: dict[str, Callable[[CompileRequest], str]] = {
    function.__name__: function
    for function in (
        take_memory,
        fail_to_allocate,
        take_time,
        interrupt,
        write_much,
        open_many,
        wait,
        connect,
        write_elsewhere,
        start_a_program,
        signal_the_parent,
        tell_surroundings,
        tell_status,
        compile_each,
    )
}

if __name__ == "__main__":
    main(work)
