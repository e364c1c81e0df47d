"""Keys of a request, told apart without a second parse; more is tested over HTTP."""

from __future__ import annotations

import json

import pytest

from inference import InvalidRequest
from service.codecs.v2.request import read_head

TENSOR = '"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f'{{"inputs": [{{{TENSOR}}}], "id": "a", "id": "b"}}', id="top"),
        pytest.param(f'{{"inputs": [{{{TENSOR}, "name": "y"}}]}}', id="name"),
        pytest.param(f'{{"inputs": [{{{TENSOR}, "data": [3]}}]}}', id="data"),
        pytest.param(
            f'{{"inputs": [{{{TENSOR}, "parameters": {{"a": 1, "a": 2}}}}]}}',
            id="parameter",
        ),
        pytest.param(
            f'{{"inputs": [{{{TENSOR}}}], "outputs": [{{"name": "y", "name": "z"}}]}}',
            id="output",
        ),
    ],
)
def test_a_key_twice_is_refused_wherever_it_stands(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is there twice in one object"):
        read_head(text.encode())


def test_other_requests_are_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(json, "loads")
    text = f'{{"inputs": [{{{TENSOR}}}], "parameters": {{"a": 1}}, "id": "1"}}'

    assert read_head(text.encode()).call.id == "1"
