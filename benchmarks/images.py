"""JPEG bodies to an image model, over the same pixels as numbers in JSON.

MobileNetV2, 160×160 pixels, is asked for one row a request by eight connections, each
sending its next request when the last is answered: 16 pictures as JPEG bodies, which
the server decodes and preprocesses, and in turn the same pixels as JSON, preprocessed
by the client. The ratio is the median of five rounds.
"""

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
    from pathlib import Path

    from benchmarks.harness.run import Run
    from inference.types import Array

MODEL, SIDE = "mobilenet", 160
COUNT = 16
CONNECTIONS = 8
TARGET = 1.3
JPEG, NUMBERS = "image/jpeg", "application/json"
SIDECAR = '[preprocess]\npreset = "mobilenet_v2"\n'


def measure(run: Run) -> Report:
    """Measure both ways in turn."""
    rounds, seconds = (1, 2.0) if run.quick else (5, 5.0)

    with child() as process:
        pictures = process.call(write, run.subfolder("models"))

    ways = {
        JPEG: [exchange(jpeg, JPEG) for jpeg, _ in pictures],
        NUMBERS: [exchange(as_json(pixels), NUMBERS) for _, pixels in pictures],
    }

    with (
        serving_models(run.folder, cpus=run.server_cpus) as server,
        generating(run.client_cpus) as generator,
    ):

        def rate(way: str) -> float:
            stream = Closed(
                port=server.port, exchanges=ways[way], connections=CONNECTIONS
            )
            return generator.rate(stream, Span(seconds=seconds))

        speeds = alternate({way: partial(rate, way) for way in ways}, rounds)

    ratio = median_ratio(speeds[JPEG], speeds[NUMBERS])
    return Report(
        title="Images",
        figures=[at_least(TARGET, "JPEG bodies over rows in JSON", ratio)],
        tables=[table(ways, speeds)],
    )


def write(repository: Path) -> list[tuple[bytes, Array]]:
    """Write the model and its sidecar; return pictures with their pixels in Keras."""
    import tensorflow as tf

    models.write_mobilenet(repository / f"{MODEL}.h5")
    (repository / f"{MODEL}.toml").write_text(SIDECAR)
    columns, rows = np.mgrid[:SIDE, :SIDE]
    pictures = []

    for index in range(COUNT):
        waves = [
            np.sin((rows + index) / a) * np.cos(columns / (a + 5)) for a in (5, 9, 17)
        ]
        pixels = np.stack(waves, -1) * 120 + 128
        jpeg = tf.io.encode_jpeg(pixels.astype(np.uint8), quality=90).numpy()
        decoded = tf.io.decode_jpeg(jpeg, dct_method="INTEGER_ACCURATE").numpy()
        pictures.append((jpeg, decoded / 127.5 - 1))

    return pictures


def as_json(pixels: Array) -> bytes:
    # Four decimals are as many as 8 bits need.
    return json.dumps({"instances": [np.round(pixels, 4).tolist()]}).encode()


def exchange(body: bytes, media: str) -> Exchange:
    path = predict_path(MODEL)
    return Exchange(name=media, path=path, right=is_answer, body=body, media=media)


def is_answer(body: bytes) -> bool:
    (scores,) = json.loads(body)["predictions"]
    return bool(abs(sum(scores) - 1) < 1e-3)


def table(ways: dict[str, list[Exchange]], speeds: dict[str, list[float]]) -> Table:
    return Table(
        title="Requests",
        columns=("body", "KiB", "a second"),
        rows=[
            (
                way,
                statistics.mean(len(each.body) for each in ways[way]) / 1024,
                statistics.median(found),
            )
            for way, found in speeds.items()
        ],
    )
