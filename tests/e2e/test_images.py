"""Images to a model of pixels: as bodies, in JSON, as jobs, from the command line."""

from __future__ import annotations

import base64
import io
import json
import os
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from inference.backend import tf, tf1
from service.cli.main import main
from service.openapi.examples import PIXEL
from tests.support.graphs import write_graph
from tests.support.pictures import encoded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.sites import Client, Site

SIDECAR = """
[preprocess]
size = 8
scale = 0.5
max_pixels = 1000000
"""
URL = "/v1/models/pixels:predict"
JPEG = encoded("JPEG")
# More than is decoded on the event loop.
LARGE = encoded("PNG", Image.effect_noise((400, 400), 50).convert("RGB"))

pytestmark = pytest.mark.timeout(300)


def pixels() -> None:
    """Return each image as it is, and the mean of its channels."""
    x = tf1.placeholder(tf.float32, [None, 8, 8, 3], name="x")
    tf.identity(x, name="same")
    tf.reduce_mean(x, [1, 2], name="mean")


@pytest.fixture
async def model(client: Client, living: Site) -> str:
    target = living.folder / "pixels"

    if not target.exists():
        away = living.folder / ".pixels"
        away.mkdir()
        write_graph(away / "model.pb", pixels)
        (away / "model.toml").write_text(SIDECAR)
        os.rename(away, target)

    await client.serves("pixels")
    return "pixels"


def expected(file: bytes) -> Any:
    with Image.open(io.BytesIO(file)) as image:
        small = image.convert("RGB").resize((8, 8), Image.Resampling.NEAREST)

    return np.asarray(small, np.float32) * 0.5


def b64(file: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(file).decode()}


def same(answer: Any) -> Any:
    return np.array([each["same"] for each in answer["predictions"]], np.float32)


@pytest.mark.parametrize(
    ("kind", "media"),
    [
        pytest.param("JPEG", "image/jpeg", id="jpeg"),
        pytest.param("PNG", "image/png", id="png"),
        pytest.param("GIF", "image/gif", id="gif"),
        pytest.param("BMP", "image/bmp", id="bmp"),
        pytest.param("WEBP", "image/webp", id="webp"),
        pytest.param("PNG", "image/jpeg", id="another than it says"),
        pytest.param("PNG", "IMAGE/*; q=1", id="any"),
    ],
)
async def test_a_body_is_one_image(
    client: Client, model: str, kind: str, media: str
) -> None:
    file = encoded(kind)
    response = await client.post(URL, content=file, headers={"Content-Type": media})

    assert response.status_code == 200, response.text
    assert np.array_equal(same(response.json()), [expected(file)])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"instances": [b64(JPEG), b64(LARGE)]}, id="rows"),
        pytest.param({"instances": [{"x": b64(JPEG)}, {"x": b64(LARGE)}]}, id="named"),
    ],
)
async def test_rows_of_json_are_images(client: Client, model: str, body: Any) -> None:
    response = await client.post(URL, json=body)

    assert response.status_code == 200, response.text
    both = [expected(JPEG), expected(LARGE)]
    assert np.array_equal(same(response.json()), both)


async def test_columns_of_json_are_images(client: Client, model: str) -> None:
    body = {"inputs": {"x": [b64(JPEG)]}, "outputs": ["same"]}
    response = await client.post(URL, json=body)

    assert np.array_equal(response.json()["outputs"], [expected(JPEG)])


@pytest.mark.parametrize("shape", [[2], [2, 1]], ids=str)
async def test_bytes_of_the_second_protocol_are_images(
    client: Client, model: str, shape: list[int]
) -> None:
    content = b"".join(len(file).to_bytes(4, "little") + file for file in (JPEG, LARGE))
    sent = {
        **{"name": "x", "shape": shape, "datatype": "BYTES"},
        "parameters": {"binary_data_size": len(content)},
    }
    head = json.dumps({"inputs": [sent], "outputs": [{"name": "same"}]}).encode()
    response = await client.post(
        "/v2/models/pixels/infer",
        content=head + content,
        headers={"Inference-Header-Content-Length": str(len(head))},
    )

    assert response.status_code == 200, response.text
    (output,) = response.json()["outputs"]
    assert output["shape"] == [2, 8, 8, 3]
    both = np.ravel([expected(JPEG), expected(LARGE)])
    assert np.array_equal(np.ravel(output["data"]), both)


async def test_numbers_are_still_taken_as_they_are(client: Client, model: str) -> None:
    row = np.arange(192.0).reshape(8, 8, 3)
    response = await client.post(URL, json={"instances": [row.tolist()]})

    assert np.array_equal(same(response.json()), [row])


@pytest.mark.parametrize(
    ("content", "query", "status", "reason"),
    [
        pytest.param(b"", "", 400, "body is empty", id="nothing"),
        pytest.param(b"hello", "", 400, "send a JPEG", id="text"),
        pytest.param(JPEG[:300], "", 400, "can't be decoded", id="cut"),
        pytest.param(
            encoded("PNG", Image.new("RGB", (2000, 2000))),
            "",
            400,
            "2000 × 2000 pixels",
            id="too many pixels",
        ),
        pytest.param(JPEG, "?top_k=x", 400, "'top_k' must be", id="top_k"),
        pytest.param(JPEG, "?topk=1", 400, "unknown parameter 'topk'", id="unknown"),
        pytest.param(JPEG, "?signature_name=no", 400, "ignature", id="name"),
    ],
)
async def test_wrong_bodies_say_what_to_do(
    client: Client, model: str, content: bytes, query: str, status: int, reason: str
) -> None:
    response = await client.post(
        URL + query, content=content, headers={"Content-Type": "image/png"}
    )

    assert (response.status_code, reason in response.json()["error"]) == (status, True)


async def test_a_model_of_other_inputs_refuses_images(
    client: Client, model: str
) -> None:
    response = await client.post(
        "/v1/models/always:predict", content=JPEG, headers={"Content-Type": "image/png"}
    )

    assert response.status_code == 400


async def test_an_image_may_be_a_job(client: Client, model: str) -> None:
    response = await client.post(
        URL,
        content=JPEG,
        headers={"Content-Type": "image/jpeg", "Prefer": "respond-async"},
    )
    assert response.status_code == 202, response.text
    result = await client.get(
        f"/v1/jobs/{response.json()['id']}/result", headers={"Prefer": "wait=60"}
    )

    assert np.array_equal(same(result.json()), [expected(JPEG)])


@pytest.mark.parametrize("here", [True, False], ids=["offline", "server"])
async def test_command_line_takes_folders_of_images(
    client: Client, model: str, living: Site, cache: Path, tmp_path: Path, here: bool
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "b.JPG").write_bytes(JPEG)
    (folder / "a.png").write_bytes(LARGE)
    (folder / "notes.txt").write_text("no image")
    where = (
        ["--models", str(living.folder)] if here else ["--server", living.server.url]
    )
    target = tmp_path / "out.ndjson"
    command = ["predict", model, "--input", str(folder), "--output", str(target)]
    command += [*where, *(["--cache-dir", str(cache)] if here else [])]
    done = await anyio.to_thread.run_sync(CliRunner().invoke, main, command)

    assert done.exit_code == 0, done.output
    lines = [json.loads(line)["same"] for line in target.read_text().splitlines()]
    assert np.array_equal(lines, [expected(LARGE), expected(JPEG)])


async def test_the_image_of_openapi_examples_is_answered(
    client: Client, model: str
) -> None:
    answer = await client.post(URL, json={"instances": [{"b64": PIXEL}]})

    assert answer.status_code == 200
    np.testing.assert_array_equal(same(answer.json()), np.full((1, 8, 8, 3), 64.0))
