"""Binary tensors of the Open Inference Protocol, beside JSON, Triton and no server."""

from __future__ import annotations

import json
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import httpx
import numpy as np

from benchmarks import peers
from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.clocks import alternate, median_ratio, median_seconds
from benchmarks.harness.exchanges import DECIMALS, Exchange, predict_path, rounded
from benchmarks.harness.generator import Closed, Span, generating
from benchmarks.harness.report import Report, Table, at_least
from benchmarks.harness.servers import (
    ROOT,
    free_ports,
    serving,
    serving_models,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.harness.generator import Generator
    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from inference.types import Array

IMAGE = (224, 224, 3)
IDENTITY, MOBILENET = "identity", "mobilenet"
ROWS, SIDE, CLASSES = 8, 160, 100
CONNECTIONS = 8
JSON, BINARY, TRITON = "v1 JSON", "v2 binary", "Triton, v2 binary"
ROWS_SERVED, ROWS_ALONE = "MobileNetV2, served", "MobileNetV2, in process"
OVER_JSON, OVER_TRITON, OVER_LOOP = 8.0, 2.0, 0.85
INTRODUCTION = """\
A model that returns its input, {size} of float32, is asked by {connections}
connections: as JSON of the REST API, as binary tensors of the Open Inference Protocol
both ways, and so by Triton with a Python model, where it is installed. MobileNetV2,
{side}×{side} pixels, is asked for {rows} rows a request in binary, and our runtime for
the same rows in a tight loop, on the server's CPU. {rounds} rounds in turn; ratios are
medians."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server's port, and what is sent to it; each request has so many `rows`."""

    port: int
    exchange: Exchange
    rows: int = 1


def measure(run: Run) -> Report:
    """Measure all ways in turn."""
    rounds, seconds = (1, 2.0) if run.quick else (5, 4.0)
    repository = run.subfolder("models")
    with child() as process:
        process.call(write, repository)

    with ExitStack() as stack:
        targets = serve(run, repository, stack)
        generator = stack.enter_context(generating(run.client_cpus))
        alone = stack.enter_context(child(run.server_cpus))
        [artifact] = compiled(run, repository)
        ways: dict[str, Callable[[], float]] = {
            name: partial(rate, generator, target, Span(seconds=seconds))
            for name, target in targets.items()
        }
        ways[ROWS_ALONE] = partial(alone.call, rows_alone, artifact, seconds)
        speeds = alternate(ways, rounds)

    return Report(
        title="Binary tensors",
        introduction=INTRODUCTION.format(
            size="×".join(map(str, IMAGE)),
            connections=CONNECTIONS,
            side=SIDE,
            rows=ROWS,
            rounds=rounds,
        ),
        figures=figures(speeds),
        tables=[table(targets, speeds)],
        notes=[] if TRITON in speeds else ["Triton isn't installed: left out."],
    )


def write(repository: Path) -> None:
    import keras

    layers = [keras.Input(IMAGE, name="image"), keras.layers.Activation("linear")]
    models.save(keras.Sequential(layers), repository / f"{IDENTITY}.h5")
    models.write_mobilenet(repository / f"{MOBILENET}.h5")
    # As its operator would set it: more rows at once take longer each.
    (repository / f"{MOBILENET}.toml").write_text(f"[batching]\nmax_rows = {ROWS}\n")


def compiled(run: Run, repository: Path) -> list[Path]:
    """Return the artifact's folder of MobileNetV2."""
    path = repository / f"{MOBILENET}.h5"
    return list(models.compile_models({MOBILENET: path}, run.folder / "alone").values())


def serve(run: Run, repository: Path, stack: ExitStack) -> dict[str, Target]:
    """Start the servers; return what to send to each."""
    cache, log = run.folder / "cache", run.subfolder("logs") / "tandem.log"
    server = stack.enter_context(
        serving_models(repository, cache, log, cpus=run.server_cpus)
    )
    port = server.port
    picture = models.rows_for(IMAGE, 1)
    as_json = json_exchange(picture)
    server.wait_ready(as_json)
    server.wait_ready(metadata(MOBILENET))
    named = {name: tensor_names(server.url, name) for name in (IDENTITY, MOBILENET)}
    rows = models.rows_for((SIDE, SIDE, 3), ROWS)
    targets = {
        JSON: Target(port=port, exchange=as_json),
        BINARY: Target(
            port=port, exchange=binary_exchange(IDENTITY, picture, named[IDENTITY])
        ),
        ROWS_SERVED: Target(
            port=port,
            exchange=binary_exchange(MOBILENET, rows, named[MOBILENET], is_answer),
            rows=ROWS,
        ),
    }
    if peers.installed(run.peers_home, "triton"):
        targets[TRITON] = triton(run, repository, picture, stack)

    return targets


def triton(run: Run, repository: Path, picture: Array, stack: ExitStack) -> Target:
    ports = free_ports(3)
    python = run.peers_home / "triton" / "bin" / "python"
    server = stack.enter_context(
        serving(
            [str(python), "-m", "benchmarks.peers.triton_app"],
            ports[0],
            run.subfolder("logs") / "triton.log",
            cpus=run.server_cpus,
            environment={
                "PEER_MODEL": str(repository / f"{IDENTITY}.h5"),
                "PEER_PORT": str(ports[0]),
                "PEER_OTHER_PORTS": ",".join(map(str, ports[1:])),
                "PYTHONPATH": str(ROOT),
            },
        )
    )
    server.wait_ready(metadata("m"))
    exchange = binary_exchange("m", picture, ("INPUT", "OUTPUT"))
    return Target(port=ports[0], exchange=exchange)


def metadata(model: str) -> Exchange:
    path = f"/v2/models/{model}/ready"
    return Exchange(name="ready", path=path, right=bool, method="GET")


def tensor_names(url: str, model: str) -> tuple[str, str]:
    found = httpx.get(f"{url}/v2/models/{model}").raise_for_status().json()
    return found["inputs"][0]["name"], found["outputs"][0]["name"]


def json_exchange(rows: Array) -> Exchange:
    # The shortest decimals, as of numbers that a client has typed or rounded.
    text = np.round(rows.astype(float), DECIMALS).tolist()
    body = json.dumps({"instances": text}).encode()
    right = partial(predicts, rounded(rows))
    return Exchange(name=JSON, path=predict_path(IDENTITY), right=right, body=body)


def predicts(rows: Array, answer: bytes) -> bool:
    given = np.array(json.loads(answer)["predictions"], np.float32)
    return bool(np.array_equal(given, rows))


def has(tail: bytes, answer: bytes) -> bool:
    return answer.endswith(tail)


def is_answer(answer: bytes) -> bool:
    """Return whether the scores of each row, at the end, have the sum 1."""
    scores = np.frombuffer(answer[-ROWS * CLASSES * 4 :], "<f4").reshape(ROWS, CLASSES)
    return bool(np.allclose(scores.sum(1), 1, atol=1e-3))


def binary_exchange(
    model: str,
    rows: Array,
    names: tuple[str, str],
    right: Callable[[bytes], bool] | None = None,
) -> Exchange:
    """Return a request in binary; the answer is its own bytes, or what is `right`."""
    name, output = names
    data = np.ascontiguousarray(rows, "<f4").tobytes()
    head = {
        "inputs": [
            {
                "name": name,
                "shape": rows.shape,
                "datatype": "FP32",
                "parameters": {"binary_data_size": len(data)},
            }
        ],
        "outputs": [{"name": output, "parameters": {"binary_data": True}}],
    }
    text = json.dumps(head).encode()
    return Exchange(
        name=BINARY,
        path=f"/v2/models/{model}/infer",
        right=right or partial(has, data),
        body=text + data,
        headers=f"Inference-Header-Content-Length: {len(text)}\r\n",
        media="application/octet-stream",
    )


def rate(generator: Generator, target: Target, span: Span) -> float:
    """Return rows a second. Raise `AssertionError` for a wrong answer."""
    stream = Closed(
        port=target.port, exchanges=[target.exchange], connections=CONNECTIONS
    )
    return generator.rate(stream, span) * target.rows


def rows_alone(artifact: Path, seconds: float) -> float:
    """Return rows a second of our runtime in this process, in a tight loop."""
    return ROWS / median_seconds(models.servable_call(artifact, 1, ROWS), seconds)


def figures(speeds: dict[str, list[float]]) -> list[Figure]:
    ratio = partial(median_ratio, speeds[BINARY])
    found = [at_least(OVER_JSON, "v2 binary over v1 JSON", ratio(speeds[JSON]))]
    if TRITON in speeds:
        found.append(at_least(OVER_TRITON, "over Triton's", ratio(speeds[TRITON])))

    served = median_ratio(speeds[ROWS_SERVED], speeds[ROWS_ALONE])
    return [*found, at_least(OVER_LOOP, "MobileNetV2 over a tight loop", served)]


def table(targets: dict[str, Target], speeds: dict[str, list[float]]) -> Table:
    sizes = {name: len(target.exchange.body) for name, target in targets.items()}
    return Table(
        title="Rows",
        columns=("way", "KiB a request", "rows a second"),
        rows=[
            (
                name,
                f"{sizes[name] / 1024:,.0f}" if name in sizes else "",
                f"{statistics.median(found):,.0f}",
            )
            for name, found in speeds.items()
        ],
    )
