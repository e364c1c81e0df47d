from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from demo.digits import CHOSEN, HELD_OUT, split_digits
from demo.make_models import main
from tests import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DIGIT = PROJECT / "demo" / "digit.json"


def test_the_committed_digit_equals_the_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "digit.json"
    monkeypatch.setattr("sys.argv", ["make_models", "--digit", str(written)])

    assert main() == 0
    assert written.read_text() == DIGIT.read_text()


def test_the_committed_digit_is_a_held_out_seven() -> None:
    _, held_out = split_digits()
    instances = np.array(json.loads(DIGIT.read_text())["instances"])

    assert np.array_equal(instances, held_out.rows[CHOSEN : CHOSEN + 1])
    assert held_out.labels[CHOSEN] == 7


def test_held_out_digits_are_not_trained_on() -> None:
    train, held_out = split_digits()
    learnt = {row.tobytes() for row in train.rows}

    assert len(held_out.rows) == len(held_out.labels) == HELD_OUT
    assert len(train.rows) + HELD_OUT == 1797
    assert not learnt & {row.tobytes() for row in held_out.rows}
