"""Layers, classes and dropout of a Keras file, from its sidecar to HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio.to_thread
import keras
import numpy as np
import pytest
from click.testing import CliRunner

from service.cli.main import main
from tests.support.graphs import floats

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.sites import Client, Site

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept"),
]


SIDECAR = """
layers = ["hidden"]
classes = "names.txt"
training = "optional"
"""


def save(folder: Path) -> Any:
    """Save a model whose sidecar offers all that there is, and return it."""
    x = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(3, activation="tanh", name="hidden")(x)
    dropped = keras.layers.Dropout(0.5)(hidden)
    model = keras.Model(x, keras.layers.Dense(2, name="scores")(dropped))
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "model.toml").write_text(SIDECAR)
    (folder / "names.txt").write_text("setosa\nvirginica\n")
    return model


async def predictions(client: Client, **body: Any) -> Any:
    response = await client.post("/v1/models/irises:predict", json=body)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


async def test_options_of_the_sidecar_are_served(
    client: Client, living: Site, cache: Path
) -> None:
    away = living.folder / ".irises"
    model, x = save(away), floats(2, 4)
    rows = x.tolist()
    away.rename(living.folder / "irises")
    await client.serves("irises")
    inspect = ["inspect", str(living.folder / "irises" / "model.keras"), "--layers"]
    inspect += ["--cache-dir", str(cache)]
    listed = await anyio.to_thread.run_sync(CliRunner().invoke, main, inspect)

    usual = await predictions(client, instances=rows)
    inner = await predictions(client, instances=rows, outputs=["hidden"])
    best = await predictions(client, instances=rows, top_k=1, batch_size=32)
    drawn = {"instances": rows, "samples": 9, "seed": 7}
    spread = await predictions(client, **drawn)
    every = await predictions(client, **drawn, all_samples=True)

    scores = np.asarray(model(x, training=False))
    hidden = keras.Model(model.inputs[0], model.get_layer("hidden").output)
    names = np.array(["setosa", "virginica"])[scores.argmax(axis=-1)]
    assert ["hidden", "[?,3]", "yes"] in [
        line.split() for line in listed.stdout.splitlines()
    ]
    np.testing.assert_allclose(usual, scores, atol=1e-5)
    np.testing.assert_allclose(inner, hidden(x), atol=1e-5)
    assert [row["classes"] for row in best] == [[name] for name in names]
    np.testing.assert_allclose(
        [row["scores"] for row in best], scores.max(axis=-1, keepdims=True), atol=1e-5
    )
    for row, samples in zip(spread, every, strict=True):
        np.testing.assert_allclose(row["mean"], np.mean(samples, axis=0), atol=1e-5)
        np.testing.assert_allclose(row["std"], np.std(samples, axis=0), atol=1e-5)
        assert np.std(samples) > 0
