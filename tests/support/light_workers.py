"""A parent with workers as `tandem serve` has them, around a light application.

Run as `python -m tests.support.light_workers FOLDER PORT COUNT`, with a single process
where `COUNT` is 0. Models settle once `FOLDER/go` is there; a worker fails to start
where `FOLDER/fail` is; one that is stuck is replaced after `LIGHT_SILENCE` seconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from service.server.process import ServerProcess
from service.server.protocol import JsonErrorProtocol
from service.server.workers import Supervisor, follow_parent

GRACE_SECONDS = 20.0


class Application:
    """Answers with the process' number, and says that it is settled after `go`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/stuck":
            time.sleep(3600)  # noqa: ASYNC251

        if scope["path"] == "/crash":
            os.kill(os.getpid(), signal.SIGKILL)

        if scope["path"] == "/upload":
            await upload(receive, send)
            return

        settled = (self._folder / "go").exists()
        body = json.dumps({"pid": os.getpid(), "settled": settled}).encode()
        length = str(len(body)).encode()
        start = {"type": "http.response.start", "status": 200}
        await send(start | {"headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})


async def upload(receive: Any, send: Any) -> None:
    """Begin an answer, and wait for the end of the body."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    while (await receive()).get("more_body"):
        pass

    await send({"type": "http.response.body", "body": b""})


def work(listener: socket.socket, channel: socket.socket, when_settled: bool) -> None:
    beat = follow_parent(channel)
    folder = Path(os.environ["LIGHT_FOLDER"])
    if (folder / "fail").exists():
        sys.exit(1)

    server = ServerProcess(
        config(folder), supervised=True, when_settled=when_settled, on_beat=beat
    )
    server.run([listener])


def may_restart(folder: Path) -> bool:
    """Return false, and leave `asked` behind, where `FOLDER/stay` is."""
    if not (folder / "stay").exists():
        return True

    (folder / "stay").rename(folder / "asked")
    return False


def config(folder: Path) -> uvicorn.Config:
    return uvicorn.Config(
        Application(folder),
        http=JsonErrorProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
    )


def main() -> None:
    folder, port, count = sys.argv[1:]
    os.environ["LIGHT_FOLDER"] = folder
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        if count == "0":
            ServerProcess(config(Path(folder))).run([listener])
            return

        supervisor = Supervisor(
            work,
            listener,
            int(count),
            GRACE_SECONDS,
            silence_seconds=float(os.environ.get("LIGHT_SILENCE", "60")),
            on_hangup=partial(may_restart, Path(folder)),
        )
        sys.exit(supervisor.run())


if __name__ == "__main__":
    # By its full name, under which the workers import it.
    from tests.support import light_workers

    light_workers.main()
