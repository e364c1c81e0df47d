from __future__ import annotations

from dataclasses import replace

from inference import Part
from service.terminal.tables import outputs, tensors
from tests.support.fakes import tensor

WORDS = {
    "n": tensor("n", "int32", (None,)),
    "words/values": replace(
        tensor("words/values", "string", (None, 2)),
        part=Part(of="words", kind="ragged", role="values", shape=(None, None, 2)),
    ),
    "words/row_splits": replace(
        tensor("words/row_splits", "int64", (None,)),
        part=Part(of="words", kind="ragged", role="row_splits"),
    ),
}


def test_a_ragged_output_is_shown_as_clients_get_it() -> None:
    assert outputs(WORDS) == "n: int32[?]\nwords: ragged string[?,?,2]"


def test_a_ragged_input_is_shown_by_the_parts_that_clients_send() -> None:
    assert tensors(WORDS).splitlines()[1:] == [
        "words/values: string[?,2] (values of the ragged 'words')",
        "words/row_splits: int64[?] (row_splits of the ragged 'words')",
    ]
