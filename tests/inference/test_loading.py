"""What is opened is closed where opening fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.limits import Limits
from inference.loading import _open
from inference.runtime import Servable
from tests.inference.echo import echo
from tests.inference.graphs import compile_graph

if TYPE_CHECKING:
    from pathlib import Path


def test_a_warm_up_that_breaks_closes_the_servable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Servable] = []

    def break_down(servable: Servable) -> None:
        opened.append(servable)
        raise MemoryError("no room")

    monkeypatch.setattr(Servable, "warm_up", break_down)

    with pytest.raises(MemoryError):
        _open(compile_graph(tmp_path, echo), Limits(concurrency=1, intra_op_threads=1))

    [servable] = opened
    assert servable._session is None
