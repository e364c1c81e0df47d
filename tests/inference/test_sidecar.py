from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.errors import InvalidSidecar
from inference.sidecar import Sidecar, SignatureConfig, blaming_sidecar, read_sidecar

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = """
default_signature = "classify"
concurrency = 4

[constants]
keep_prob = 1.0
is_training = false
mode = "serve"
steps = 3

[signatures.classify]
inputs = { image = "pixels:0" }
outputs = ["scores:0", "heads/best:0", "heads/best:1"]

[signatures.embed]
outputs = { vector = "hidden:0" }
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "flowers.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_no_sidecar() -> None:
    assert read_sidecar(None) == Sidecar()


def test_an_empty_sidecar(tmp_path: Path) -> None:
    assert read_sidecar(written(tmp_path, "# nothing\n")) == Sidecar()


def test_a_whole_sidecar(tmp_path: Path) -> None:
    sidecar = read_sidecar(written(tmp_path, WHOLE))

    assert sidecar == Sidecar(
        default_signature="classify",
        concurrency=4,
        constants={
            "keep_prob": 1.0,
            "is_training": False,
            "mode": "serve",
            "steps": 3,
        },
        signatures={
            "classify": SignatureConfig(
                inputs={"image": "pixels:0"},
                outputs={
                    "scores": "scores:0",
                    "heads/best": "heads/best:0",
                    "heads/best:1": "heads/best:1",
                },
            ),
            "embed": SignatureConfig(outputs={"vector": "hidden:0"}),
        },
    )
    assert isinstance(sidecar.constants["is_training"], bool)
    assert isinstance(sidecar.constants["steps"], int)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a = \nb = 1", ["valid TOML", "line 1"], id="syntax"),
        pytest.param(b"a = '\xff'", ["valid TOML"], id="encoding"),
        pytest.param("port = 1", ["'port'", "concurrency", "constants"], id="key"),
        pytest.param("concurrency = 0", ["'concurrency'", "1"], id="too few"),
        pytest.param("concurrency = 1025", ["'concurrency'", "1024"], id="too many"),
        pytest.param('concurrency = "two"', ["'concurrency'"], id="no number"),
        pytest.param("default_signature = 3", ["'default_signature'"], id="no text"),
        pytest.param(
            "[signatures.a]\ninput = []", ["'signatures.a.input'"], id="inner key"
        ),
        pytest.param(
            "[signatures.a.inputs]\nx = 3",
            ["'signatures.a.inputs.x'", "string"],
            id="no tensor",
        ),
        pytest.param("[constants]\nx = [1]", ["'constants.x"], id="a list"),
        pytest.param(
            "port = 1\nhost = 2", ["'port'", "'host'"], id="all of what is wrong"
        ),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, text: str | bytes, words: list[str]
) -> None:
    with pytest.raises(InvalidSidecar) as caught:
        read_sidecar(written(tmp_path, text))

    told = str(caught.value)
    assert told.startswith("flowers.toml: ")
    assert [word for word in words if word not in told] == []


def test_a_sidecar_that_has_gone(tmp_path: Path) -> None:
    with pytest.raises(InvalidSidecar, match=r"^flowers\.toml: it can't be read: No"):
        read_sidecar(tmp_path / "flowers.toml")


def test_blame_without_a_file() -> None:
    with (
        pytest.raises(InvalidSidecar, match="^sidecar: no such tensor$"),
        blaming_sidecar(None),
    ):
        raise InvalidSidecar("no such tensor")


def test_concurrency_shapes_nothing() -> None:
    assert Sidecar(concurrency=3).shaping() == Sidecar().shaping()
    assert Sidecar(default_signature="a").shaping() != Sidecar().shaping()
