"""The servers that are compared: how each is started, and how it is asked."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.load.peers import environments
from benchmarks.load.process import HOST, Process, free_ports, server_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.load.exchanges import Exchange, Form
    from benchmarks.load.workbench import Workbench

TANDEM, LOGGED, BOUND = "tandem", "tandem-log", "bound"
_APPS = "benchmarks.load.peers.apps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run, with which additions to the environment."""

    arguments: list[str]
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server by name; `path` may have `{model}` in it.

    `command` takes the workbench, a model's name and three free ports, of which the
    first is the server's. One that serves `all_models` is told none.
    """

    name: str
    form: Form
    path: str
    command: Callable[[Workbench, str, list[int]], Command]
    environment: str | None = None
    all_models: bool = False

    def available(self, home: Path) -> bool:
        """Whether its packages are there."""
        return self.environment is None or environments.installed(
            home, self.environment
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers."""

    server: Server
    port: int
    process: Process
    bench: Workbench

    def exchanges(self, model: str, rows: int) -> list[Exchange]:
        """Requests to `model` of `rows` rows each."""
        path = self.server.path.format(model=model)
        return self.bench.exchanges(model, rows, self.server.form, path)


@contextmanager
def running(server: Server, bench: Workbench, model: str) -> Iterator[Running]:
    """Start `server` with `model`, and wait for its first right answer.

    Raises `NotReady`.
    """
    ports = free_ports(3)
    command = server.command(bench, model, ports)
    log = bench.logs / f"{server.name}.log"

    with server_process(
        command.arguments, bench.server_cpus, log, command.variables
    ) as process:
        started = Running(server=server, port=ports[0], process=process, bench=bench)
        models = bench.models if server.all_models else [model]

        for name in models:
            process.wait_ready(ports[0], started.exchanges(name, 1)[0].request)

        yield started


def _tandem(*flags: str) -> Callable[[Workbench, str, list[int]], Command]:
    def command(bench: Workbench, model: str, ports: list[int]) -> Command:
        arguments = [
            *shlex.split(bench.tandem),
            *("serve", str(bench.repository), "--host", HOST),
            *("--port", str(ports[0]), "--cache-dir", str(bench.cache), *flags),
        ]
        return Command(arguments=arguments)

    return command


def _bound(bench: Workbench, model: str, ports: list[int]) -> Command:
    folders = [f"{name}={folder}" for name, folder in bench.artifacts().items()]
    module = "benchmarks.load.bound"
    return Command(arguments=[sys.executable, "-m", module, str(ports[0]), *folders])


def _peer(
    environment: str, *arguments: str
) -> Callable[[Workbench, str, list[int]], Command]:
    """`{port}` and `{folder}`, for files of its own, are filled in."""

    def command(bench: Workbench, model: str, ports: list[int]) -> Command:
        folder = bench.logs / f"{environment}-{model}"
        folder.mkdir(exist_ok=True)
        _write_mlserver(folder, ports)
        program, *rest = (
            each.format(port=ports[0], folder=folder) for each in arguments
        )
        return Command(
            arguments=[str(bench.peers / environment / "bin" / program), *rest],
            variables={
                "PEER_MODEL": str(bench.files[model]),
                "PEER_PORT": str(ports[0]),
                "PEER_OTHER_PORTS": ",".join(map(str, ports[1:])),
                "PYTHONPATH": str(bench.root),
                "BENTOML_DO_NOT_TRACK": "True",
            },
        )

    return command


def _write_mlserver(folder: Path, ports: list[int]) -> None:
    http, grpc, metrics = ports
    settings = {
        "debug": False,
        "host": HOST,
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": metrics,
        "parallel_workers": 0,
    }
    model = {
        "name": "m",
        "implementation": f"{_APPS}.mlserver_app.Model",
        "max_batch_size": 64,
        "max_batch_time": 0.002,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))


_OURS_PATH = "/v1/models/{model}:predict"
_TENSOR_PATH = "/v2/models/m/infer"
_FLASK = ("--app", f"{_APPS}.flask_app:app", "run", "--port", "{port}")
_QUIET = ("--log-level", "warning")

OURS = (
    Server(
        name=TANDEM,
        form="instances",
        path=_OURS_PATH,
        command=_tandem(*_QUIET),
        all_models=True,
    ),
    Server(
        name=BOUND,
        form="instances",
        path=_OURS_PATH,
        command=_bound,
        all_models=True,
    ),
)
PEERS = (
    Server(
        name=LOGGED,
        form="instances",
        path=_OURS_PATH,
        command=_tandem(),
        all_models=True,
    ),
    Server(
        name="flask",
        form="instances",
        path="/predict",
        command=_peer("tf", "flask", *_FLASK),
        environment="tf",
    ),
    Server(
        name="litserve",
        form="instances",
        path="/predict",
        command=_peer("litserve", "python", "-m", f"{_APPS}.litserve_app"),
        environment="litserve",
    ),
    Server(
        name="bentoml",
        form="bare",
        path="/predict",
        command=_peer(
            "bentoml",
            *("bentoml", "serve", f"{_APPS}.bentoml_app:Predict", "--port", "{port}"),
        ),
        environment="bentoml",
    ),
    Server(
        name="mlserver",
        form="tensor",
        path=_TENSOR_PATH,
        command=_peer("mlserver", "mlserver", "start", "{folder}"),
        environment="mlserver",
    ),
    Server(
        name="triton",
        form="tensor",
        path=_TENSOR_PATH,
        command=_peer("triton", "python", "-m", f"{_APPS}.triton_app"),
        environment="triton",
    ),
)
NAMES = {server.name: server for server in (*OURS, *PEERS)}
