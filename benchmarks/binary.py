"""Binary tensors of the Open Inference Protocol, beside JSON, Triton and no server.

A model that returns its input, 224×224×3 of float32, is asked by eight connections: as
JSON of the REST API, as binary tensors of the Open Inference Protocol both ways, and so
by Triton with a Python model, where it is installed. MobileNetV2, 160×160 pixels, is
asked for eight rows a request in binary, and our runtime for the same rows in a tight
loop, on the server's CPU. Five rounds in turn; ratios are medians.
"""

from __future__ import annotations

import json
import statistics
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import peers
from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.clocks import alternate, median_ratio, median_seconds
from benchmarks.harness.exchanges import (
    Exchange,
    get,
    predict_path,
    predictions,
    rounded,
)
from benchmarks.harness.generator import Closed, Span, generating
from benchmarks.harness.report import Report, Table, at_least
from benchmarks.harness.servers import ROOT, free_ports, serving, serving_models

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from benchmarks.harness.servers import Server
    from inference.types import Array

IMAGE = (224, 224, 3)
IDENTITY, MOBILENET = "identity", "mobilenet"
ROWS, SIDE, CLASSES = 8, 160, 100
CONNECTIONS = 8
JSON, BINARY, TRITON = "v1 JSON", "v2 binary", "Triton, v2 binary"
ROWS_SERVED, ROWS_ALONE = "MobileNetV2, served", "MobileNetV2, in process"
OVER_JSON, OVER_TRITON, OVER_LOOP = 8.0, 2.0, 0.85
FLOAT32 = 1e-7
"""A place of float32, relative: the answer is parsed as float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server's port, and what is sent to it; each request has so many `rows`."""

    port: int
    exchange: Exchange
    rows: int = 1


def measure(run: Run) -> Report:
    """Measure all ways in turn."""
    rounds, seconds = (1, 2.0) if run.quick else (5, 4.0)

    with child() as process:
        path = process.call(write, run.subfolder("models"))

    [artifact] = models.compile_models({MOBILENET: path}, run.folder / "alone").values()
    picture = models.rows_for(IMAGE, 1)

    with ExitStack() as stack:
        server = stack.enter_context(serving_models(run.folder, cpus=run.server_cpus))
        targets = ours(server, picture)

        if peers.installed(run.peers_home, "triton"):
            targets[TRITON] = stack.enter_context(triton(run, picture))

        generator = stack.enter_context(generating(run.client_cpus))
        alone = stack.enter_context(child(run.server_cpus))

        def rate(target: Target) -> float:
            """Return rows a second. Raises `AssertionError` for a wrong answer."""
            stream = Closed(
                port=target.port, exchanges=[target.exchange], connections=CONNECTIONS
            )
            return generator.rate(stream, Span(seconds=seconds)) * target.rows

        ways = {name: partial(rate, target) for name, target in targets.items()}
        ways[ROWS_ALONE] = partial(alone.call, rows_alone, artifact, seconds)
        speeds = alternate(ways, rounds)

    return Report(
        title="Binary tensors",
        figures=figures(speeds),
        tables=[table(targets, speeds)],
        notes=[] if TRITON in speeds else ["Triton isn't installed: left out."],
    )


def write(repository: Path) -> Path:
    """Write both models; return the path of MobileNetV2."""
    import keras

    layers = [keras.Input(IMAGE, name="image"), keras.layers.Activation("linear")]
    models.save(keras.Sequential(layers), repository / f"{IDENTITY}.h5")
    path = repository / f"{MOBILENET}.h5"
    models.write_mobilenet(path)
    # As its operator would set it: more rows at once take longer each.
    path.with_suffix(".toml").write_text(f"[batching]\nmax_rows = {ROWS}\n")
    return path


def ours(server: Server, picture: Array) -> dict[str, Target]:
    """Return what to send to our server."""
    rows = models.rows_for((SIDE, SIDE, 3), ROWS)
    [as_json] = predictions(
        picture, rounded(picture), predict_path(IDENTITY), tolerance=FLOAT32
    )
    binary = binary_exchange(IDENTITY, picture, tensor_names(server, IDENTITY))
    served = binary_exchange(
        MOBILENET, rows, tensor_names(server, MOBILENET), are_scores
    )
    return {
        JSON: Target(port=server.port, exchange=as_json),
        BINARY: Target(port=server.port, exchange=binary),
        ROWS_SERVED: Target(port=server.port, exchange=served, rows=ROWS),
    }


@contextmanager
def triton(run: Run, picture: Array) -> Iterator[Target]:
    ports = free_ports(3)
    python = run.peers_home / "triton" / "bin" / "python"
    environment = {
        "PEER_MODEL": str(run.folder / "models" / f"{IDENTITY}.h5"),
        "PEER_PORT": str(ports[0]),
        "PEER_OTHER_PORTS": ",".join(map(str, ports[1:])),
        "PYTHONPATH": str(ROOT),
    }

    with serving(
        [str(python), "-m", "benchmarks.peers.triton_app"],
        ports[0],
        run.folder / "triton.log",
        cpus=run.server_cpus,
        environment=environment,
    ) as server:
        server.wait_ready(get("/v2/models/m/ready"))
        exchange = binary_exchange("m", picture, ("INPUT", "OUTPUT"))
        yield Target(port=ports[0], exchange=exchange)


def tensor_names(server: Server, model: str) -> tuple[str, str]:
    found = server.get(f"/v2/models/{model}").json()
    return found["inputs"][0]["name"], found["outputs"][0]["name"]


def binary_exchange(
    model: str,
    rows: Array,
    names: tuple[str, str],
    right: Callable[[bytes], bool] | None = None,
) -> Exchange:
    """Return a request in binary; the answer is its own bytes, or what is `right`."""
    name, output = names
    data = np.ascontiguousarray(rows, "<f4").tobytes()
    tensor = {
        "name": name,
        "shape": rows.shape,
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(data)},
    }
    wanted = {"name": output, "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    return Exchange(
        name=BINARY,
        path=f"/v2/models/{model}/infer",
        right=right or partial(ends_with, data),
        body=head + data,
        headers=f"Inference-Header-Content-Length: {len(head)}\r\n",
        media="application/octet-stream",
    )


def ends_with(tail: bytes, answer: bytes) -> bool:
    return answer.endswith(tail)


def are_scores(answer: bytes) -> bool:
    """Tell if the scores of each row, at the end, have the sum 1."""
    scores = np.frombuffer(answer[-ROWS * CLASSES * 4 :], "<f4").reshape(ROWS, CLASSES)
    return bool(np.allclose(scores.sum(1), 1, atol=1e-3))


def rows_alone(artifact: Path, seconds: float) -> float:
    """Return rows a second of our runtime in this process, in a tight loop."""
    return ROWS / median_seconds(models.servable_call(artifact, 1, ROWS), seconds)


def figures(speeds: dict[str, list[float]]) -> list[Figure]:
    def over(target: float, name: str, one: str, other: str) -> Figure:
        return at_least(target, name, median_ratio(speeds[one], speeds[other]))

    found = [over(OVER_JSON, "v2 binary over v1 JSON", BINARY, JSON)]

    if TRITON in speeds:
        found.append(over(OVER_TRITON, "over Triton's", BINARY, TRITON))

    loop = "MobileNetV2 over a tight loop"
    return [*found, over(OVER_LOOP, loop, ROWS_SERVED, ROWS_ALONE)]


def table(targets: dict[str, Target], speeds: dict[str, list[float]]) -> Table:
    sizes = {name: len(target.exchange.body) for name, target in targets.items()}
    return Table(
        title="Rows",
        columns=("way", "KiB a request", "rows a second"),
        rows=[
            (
                name,
                sizes[name] / 1024 if name in sizes else "",
                statistics.median(found),
            )
            for name, found in speeds.items()
        ],
    )
