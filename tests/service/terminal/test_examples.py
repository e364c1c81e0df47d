"""The example commands, run as a shell would run them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference import Part, Sample, Signature
from service.terminal.examples import INLINE_VALUES, curl
from tests.support.fakes import tensor

if TYPE_CHECKING:
    from inference import Shape, TensorSpec

URL = "http://127.0.0.1:8501/v1/models/m:predict"


def make(*inputs: TensorSpec, text: bytes = b"a", rows: bool = True) -> Signature:
    shapes = {
        spec.name: tuple(1 if size is None else size for size in spec.shape or ())
        for spec in inputs
    }
    return Signature(
        name="main",
        inputs={spec.name: spec for spec in inputs},
        outputs={"y": tensor("y", shape=(None, 1) if rows else ())},
        sample=Sample(shapes=shapes, texts=dict.fromkeys(shapes, text)),
    )


def part(name: str, dtype: str, shape: Shape) -> TensorSpec:
    whole, _, role = name.partition("/")
    kind = "sparse" if whole == "sp" else "ragged"
    made = Part(of=whole, kind=kind, role=role, shape=(None, 4))
    return replace(tensor(name, dtype, shape), part=made)


def sent(command: str) -> dict[str, Any]:
    """Return the body that a shell would send, given by `-d` or piped."""
    words = shlex.split(command)
    assert words[-1] == URL

    if words[0] == "curl":
        document: dict[str, Any] = json.loads(words[2])
        return document

    assert words[:2] == ["python3", "-c"]
    assert words[3:7] == ["|", "curl", "-d", "@-"]
    script = subprocess.run(
        [sys.executable, "-c", words[2]], capture_output=True, check=True
    )
    document = json.loads(script.stdout)
    return document


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        pytest.param(
            make(tensor("x", shape=(None, 3))),
            {"instances": [[0.0, 0.0, 0.0]]},
            id="rows of one input have no name",
        ),
        pytest.param(
            make(tensor("x", shape=(None,)), tensor("n", "int64", (None, 2))),
            {"instances": [{"x": 0.0, "n": [0, 0]}]},
            id="rows of two inputs are objects",
        ),
        pytest.param(
            make(tensor("x", shape=(2, 2)), rows=False),
            {"inputs": [[0.0, 0.0], [0.0, 0.0]]},
            id="whole tensors where there are no rows",
        ),
        pytest.param(
            make(tensor("x", shape=()), tensor("b", "bool", ()), rows=False),
            {"inputs": {"x": 0.0, "b": False}},
            id="whole named tensors",
        ),
        pytest.param(
            make(tensor("s", "string", (None,)), text=b"word"),
            {"instances": ["word"]},
            id="text",
        ),
        pytest.param(
            make(tensor("s", "string", (None,)), text=b"\xff"),
            {"instances": [{"b64": "/w=="}]},
            id="bytes that are no text",
        ),
        pytest.param(
            make(
                tensor("x", shape=(None,)),
                tensor("training", "bool", (), default=np.array(False)),
            ),
            {"instances": [0.0]},
            id="optional inputs are left out",
        ),
        pytest.param(
            make(
                part("sp/indices", "int64", (None, 2)),
                part("sp/values", "string", (None,)),
                part("sp/shape", "int64", (2,)),
                text=b"word",
            ),
            {
                "inputs": {
                    "sp/indices": [[0, 0]],
                    "sp/values": ["word"],
                    "sp/shape": [1, 4],
                }
            },
            id="the parts of a sparse input fit each other",
        ),
        pytest.param(
            make(
                part("x/values", "float32", (None, 2)),
                part("x/row_splits", "int64", (None,)),
                part("x/row_splits_1", "int64", (None,)),
            ),
            {
                "inputs": {
                    "x/values": [[0.0, 0.0]],
                    "x/row_splits": [0, 1],
                    "x/row_splits_1": [0, 1],
                }
            },
            id="and those of a ragged one",
        ),
    ],
)
def test_a_small_body_is_written_out(signature: Signature, body: Any) -> None:
    command = curl(URL, signature)

    assert command.startswith("curl -d ")
    assert sent(command) == body


@pytest.mark.parametrize(
    ("signature", "key", "shapes"),
    [
        pytest.param(
            make(tensor("x", shape=(None, 8, 8, 3))),
            "instances",
            (1, 8, 8, 3),
            id="rows",
        ),
        pytest.param(
            make(tensor("x", shape=(20, 20)), rows=False),
            "inputs",
            (20, 20),
            id="a whole tensor",
        ),
    ],
)
def test_a_large_body_is_made_by_a_script(
    signature: Signature, key: str, shapes: tuple[int, ...]
) -> None:
    command = curl(URL, signature)

    assert len(command) < 300
    assert np.shape(sent(command)[key]) == shapes


def test_a_large_body_of_named_inputs() -> None:
    pair = make(tensor("x", shape=(None, 100)), tensor("n", "int32", (None, 2)))

    rows = sent(curl(URL, pair))["instances"]

    assert [{name: np.shape(value) for name, value in row.items()} for row in rows] == [
        {"x": (100,), "n": (2,)}
    ]


@pytest.mark.parametrize("size", [2, INLINE_VALUES + 1])
def test_a_signature_that_is_not_the_default_is_named(size: int) -> None:
    signature = make(tensor("x", shape=(None, size)))

    assert sent(curl(URL, signature, name="other"))["signature_name"] == "other"
    assert "signature_name" not in sent(curl(URL, signature))


def test_unknown_sizes_are_those_of_the_sample() -> None:
    sampled = replace(
        make(tensor("x", shape=(None, None))),
        sample=Sample(shapes={"x": (1, 16)}),
    )
    untried = replace(sampled, sample=None)

    assert np.shape(sent(curl(URL, sampled))["instances"]) == (1, 16)
    assert np.shape(sent(curl(URL, untried))["instances"]) == (1, 1)
