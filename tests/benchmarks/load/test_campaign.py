from __future__ import annotations

from typing import Any

import pytest

from benchmarks.load.campaign import Campaign
from benchmarks.load.contenders import NAMES

PEERS = [NAMES[name] for name in ("flask", "litserve", "triton")]


@pytest.mark.parametrize(
    ("rounds", "order"),
    [
        pytest.param(1, ["ours, last", "flask", "litserve", "triton"], id="one"),
        pytest.param(
            2, ["ours", "flask", "litserve", "triton", "ours, last"], id="two"
        ),
        pytest.param(
            3,
            ["ours", "flask", "triton", "ours", "litserve", "ours, last"],
            id="three",
        ),
    ],
)
def test_peers_come_between_the_rounds_of_ours(
    monkeypatch: pytest.MonkeyPatch, rounds: int, order: list[str]
) -> None:
    found: list[str] = []

    def ours(campaign: Campaign, *, last: bool) -> None:
        found.append("ours, last" if last else "ours")

    def peer(campaign: Campaign, contender: Any) -> None:
        found.append(contender.name)

    monkeypatch.setattr(Campaign, "_measure_limits", lambda campaign: None)
    monkeypatch.setattr(Campaign, "_measure_ours", ours)
    monkeypatch.setattr(Campaign, "_measure_peer", peer)
    nothing: Any = None
    Campaign(bench=nothing, meter=nothing, peers=PEERS, rounds=rounds).run()

    assert found == order
