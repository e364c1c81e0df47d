"""JPEG bodies to an image model, over the same pixels as numbers in JSON."""

from __future__ import annotations

import json
import statistics
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.clocks import alternate, median_ratio
from benchmarks.harness.exchanges import Exchange, predict_path
from benchmarks.harness.generator import Closed, Span, generating
from benchmarks.harness.report import Report, Table, at_least
from benchmarks.harness.servers import serving_models

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.harness.run import Run

MODEL = "mobilenet"
SIDE = 160
COUNT = 16
CONNECTIONS = 8
TARGET = 1.3
JPEG, NUMBERS = "image/jpeg", "JSON"
SIDECAR = '[preprocess]\npreset = "mobilenet_v2"\n'
INTRODUCTION = """\
MobileNetV2, {side}×{side} pixels, is asked for one row a request by {connections}
connections, each sending its next request when the last is answered: {count} pictures
as JPEG bodies, which the server decodes and preprocesses, and in turn the same pixels
as JSON, preprocessed by the client. {rounds} rounds; the ratio is their median."""


def measure(run: Run) -> Report:
    """Measure both ways in turn."""
    rounds, span = (1, 2.0) if run.quick else (5, 5.0)
    repository = run.subfolder("models")

    with child() as process:
        process.call(write, repository, run.folder)

    ways = {JPEG: jpegs(run.folder), NUMBERS: numbers(run.folder)}
    cache, log = run.folder / "cache", run.folder / "log"

    with (
        serving_models(repository, cache, log, cpus=run.server_cpus) as server,
        generating(run.client_cpus) as generator,
    ):
        server.wait_ready(ways[NUMBERS][0])
        turns = {
            name: partial(generator.rate, stream(server.port, sent), Span(seconds=span))
            for name, sent in ways.items()
        }
        speeds = alternate(turns, rounds)

    ratio = median_ratio(speeds[JPEG], speeds[NUMBERS])
    return Report(
        title="Images",
        introduction=INTRODUCTION.format(
            side=SIDE, connections=CONNECTIONS, count=COUNT, rounds=rounds
        ),
        figures=[at_least(TARGET, "JPEG bodies over rows in JSON", ratio)],
        tables=[table(ways, speeds)],
    )


def write(repository: Path, folder: Path) -> None:
    """Write the model, its sidecar, pictures and their pixels as Keras has them."""
    import tensorflow as tf

    models.write_mobilenet(repository / f"{MODEL}.h5")
    (repository / f"{MODEL}.toml").write_text(SIDECAR)
    columns, rows = np.mgrid[:SIDE, :SIDE]

    for index in range(COUNT):
        waves = [
            np.sin((rows + index) / a) * np.cos(columns / (a + 5)) for a in (5, 9, 17)
        ]
        pixels = np.stack(waves, -1) * 120 + 128
        data = tf.io.encode_jpeg(pixels.astype(np.uint8), quality=90).numpy()
        (folder / f"{index}.jpg").write_bytes(data)
        decoded = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE").numpy()
        np.save(folder / f"{index}.npy", (decoded / 127.5 - 1).astype(np.float32))


def jpegs(folder: Path) -> list[Exchange]:
    bodies = [(folder / f"{index}.jpg").read_bytes() for index in range(COUNT)]
    return [exchange(body, JPEG) for body in bodies]


def numbers(folder: Path) -> list[Exchange]:
    rows = [np.load(folder / f"{index}.npy") for index in range(COUNT)]
    # Four decimals are as many as 8 bits need.
    texts = [np.round(row.astype(float), 4).tolist() for row in rows]
    return [
        exchange(json.dumps({"instances": [text]}).encode(), "application/json")
        for text in texts
    ]


def exchange(body: bytes, media: str) -> Exchange:
    path = predict_path(MODEL)
    return Exchange(name=media, path=path, right=is_answer, body=body, media=media)


def is_answer(body: bytes) -> bool:
    (scores,) = json.loads(body)["predictions"]
    return bool(abs(sum(scores) - 1) < 1e-3)


def stream(port: int, exchanges: Sequence[Exchange]) -> Closed:
    return Closed(port=port, exchanges=exchanges, connections=CONNECTIONS)


def table(ways: dict[str, list[Exchange]], speeds: dict[str, list[float]]) -> Table:
    return Table(
        title="Requests",
        columns=("body", "KiB", "a second"),
        rows=[
            (
                name,
                f"{statistics.mean(len(each.body) for each in ways[name]) / 1024:.0f}",
                f"{statistics.median(found):.0f}",
            )
            for name, found in speeds.items()
        ],
    )
