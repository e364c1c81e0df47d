"""Inner layers and classes of a Keras file, from its sidecar to answers over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import keras
import numpy as np
import pytest

from tests.e2e.processes import TANDEM, free_port, ready, run_tandem, running
from tests.support.graphs import floats

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept"),
]


def save(folder: Path) -> Any:
    """Save a model that offers its layer `hidden` and has names for its classes."""
    x = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(3, activation="tanh", name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="scores")(hidden))
    folder.mkdir()
    model.save(folder / "irises.keras")
    (folder / "irises.toml").write_text('layers = ["hidden"]\nclasses = "names.txt"')
    (folder / "names.txt").write_text("setosa\nvirginica\n")
    return model


async def test_layers_are_listed_and_served_and_classes_told(tmp_path: Path) -> None:
    folder, cache, port = tmp_path / "models", str(tmp_path / "cache"), free_port()
    model, x = save(folder), floats(2, 4)
    listed = run_tandem("inspect", str(folder), "--layers", "--cache-dir", cache)
    command = [*TANDEM, "serve", str(folder), "--port", str(port), "--no-screen"]

    with running([*command, "--cache-dir", cache], port, tmp_path / "log") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await ready(client)
            body = {"instances": x.tolist(), "outputs": ["hidden"]}
            asked = await client.post("/v1/models/irises:predict", json=body)
            body = {"instances": x.tolist()}
            usual = await client.post("/v1/models/irises:predict", json=body)
            body = {"instances": x.tolist(), "top_k": 1, "batch_size": 32}
            best = await client.post("/v1/models/irises:predict", json=body)

    shown = [line.split() for line in listed.stdout.splitlines()]
    hidden = keras.Model(model.inputs[0], model.get_layer("hidden").output)
    assert ["hidden", "[?,3]", "yes"] in shown
    np.testing.assert_allclose(asked.json()["predictions"], hidden(x), atol=1e-5)
    np.testing.assert_allclose(usual.json()["predictions"], model(x), atol=1e-5)
    names = np.array(["setosa", "virginica"])[np.argmax(model(x), axis=-1)]
    assert [row["classes"] for row in best.json()["predictions"]] == [
        [n] for n in names
    ]
    np.testing.assert_allclose(
        [row["scores"] for row in best.json()["predictions"]],
        np.max(model(x), axis=-1, keepdims=True),
        atol=1e-5,
    )
