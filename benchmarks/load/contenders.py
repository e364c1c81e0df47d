"""The servers that are compared: their commands, paths and forms of requests."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.harness.exchanges import predict_path
from benchmarks.harness.servers import HOST, ROOT, free_ports, serving, tandem
from benchmarks.load.workloads import FROZEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.harness.exchanges import Exchange, Form
    from benchmarks.harness.servers import Server
    from benchmarks.load.workloads import Workbench

TANDEM, LOGGED, BOUND, RUNTIME = "tandem", "tandem-log", "bound", "bound-runtime"
ENVIRONMENTS = {"flask": peers.SHARED}
"""Where a peer shares one of another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A server by name; `path` may have `{model}` in it.

    `command` takes the workbench, a model's name and three free ports, of which the
    first is the server's. One that has no `environment` of its own serves all models.
    """

    name: str
    command: Callable[[Workbench, str, list[int]], list[str]]
    form: Form = "instances"
    path: str = predict_path("{model}")
    environment: str = ""

    def available(self, home: Path) -> bool:
        """Tell if its packages are there."""
        return not self.environment or peers.installed(home, self.environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers."""

    contender: Contender
    server: Server
    bench: Workbench

    @property
    def port(self) -> int:
        return self.server.port

    def exchanges(self, model: str, rows: int) -> list[Exchange]:
        """Return requests to `model` of `rows` rows each."""
        path = self.contender.path.format(model=model)
        return self.bench.exchanges(model, rows, self.contender.form, path)


@contextmanager
def running(contender: Contender, bench: Workbench, model: str) -> Iterator[Running]:
    """Start `contender` with `model`, and wait for its first answer.

    Raises `NotReady`.
    """
    ports = free_ports(3)
    environment = {
        "PEER_MODEL": str(bench.files[model]),
        "PEER_PORT": str(ports[0]),
        "PEER_OTHER_PORTS": ",".join(map(str, ports[1:])),
        "PYTHONPATH": str(ROOT),
        "BENTOML_DO_NOT_TRACK": "True",
    }

    with serving(
        contender.command(bench, model, ports),
        ports[0],
        bench.logs / f"{contender.name}.log",
        cpus=bench.run.server_cpus,
        environment=environment if contender.environment else None,
    ) as server:
        started = Running(contender=contender, server=server, bench=bench)

        for name in [model] if contender.environment else bench.files:
            server.wait_ready(started.exchanges(name, 1)[0])

        yield started


def _tandem(bench: Workbench, model: str, ports: list[int]) -> list[str]:
    return [*_logged(bench, model, ports), "--log-level", "warning"]


def _logged(bench: Workbench, model: str, ports: list[int]) -> list[str]:
    return tandem(bench.repository, bench.cache, ports[0])


def _bound(bench: Workbench, model: str, ports: list[int]) -> list[str]:
    graphs = {
        name: bench.files[name if name.endswith(FROZEN) else f"{name}{FROZEN}"]
        for name in bench.files
    }
    return _bare(graphs, ports)


def _runtime(bench: Workbench, model: str, ports: list[int]) -> list[str]:
    return _bare(bench.artifacts, ports)


def _bare(models: dict[str, Path], ports: list[int]) -> list[str]:
    named = [f"{name}={path}" for name, path in models.items()]
    return [sys.executable, "-m", "benchmarks.load.bound", str(ports[0]), *named]


def _peer(
    name: str, *arguments: str, path: str = "/predict", form: Form = "instances"
) -> Contender:
    """Describe a server that is installed; `{port}` and `{folder}`, which is for files
    of its own, are filled in."""
    environment = ENVIRONMENTS.get(name, name)

    def command(bench: Workbench, model: str, ports: list[int]) -> list[str]:
        folder = bench.run.subfolder(f"logs/{environment}-{model}")
        _write_mlserver(folder, ports)
        binaries = bench.run.peers_home / environment / "bin"
        filled = [each.format(port=ports[0], folder=folder) for each in arguments]
        return [str(binaries / filled[0]), *filled[1:]]

    return Contender(
        name=name, command=command, form=form, path=path, environment=environment
    )


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
        "implementation": "benchmarks.peers.mlserver_app.Model",
        "max_batch_size": 64,
        "max_batch_time": 0.002,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))


_TENSORS = "/v2/models/m/infer"
_FLASK = ("flask", "--app", "benchmarks.peers.flask_app:app", "run")
_BENTOML = ("bentoml", "serve", "benchmarks.peers.bentoml_app:Predict")
_MODULE = ("python", "-m")
_PORT = ("--port", "{port}")

OURS = (Contender(name=TANDEM, command=_tandem), Contender(name=BOUND, command=_bound))
PEERS = (
    Contender(name=LOGGED, command=_logged),
    _peer("flask", *_FLASK, *_PORT),
    _peer("litserve", *_MODULE, "benchmarks.peers.litserve_app"),
    _peer("bentoml", *_BENTOML, *_PORT, form="bare"),
    _peer("mlserver", "mlserver", "start", "{folder}", path=_TENSORS, form="tensor"),
    _peer(
        "triton", *_MODULE, "benchmarks.peers.triton_app", path=_TENSORS, form="tensor"
    ),
)
NAMES = {server.name: server for server in (*OURS, *PEERS)}
BOUND_RUNTIME = Contender(name=RUNTIME, command=_runtime)
"""The bound with our runtime, for comparison with it alone."""
