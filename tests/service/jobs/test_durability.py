from __future__ import annotations

import pytest

from service.jobs.durability import risks_of

SAFE = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
}


@pytest.mark.parametrize(
    ("settings", "cures"),
    [
        pytest.param(SAFE, [], id="safe"),
        pytest.param({}, [], id="unknown"),
        pytest.param(SAFE | {"appendonly": "no"}, ["appendonly yes"], id="memory"),
        pytest.param(
            SAFE | {"appendfsync": "everysec"}, ["appendfsync always"], id="late"
        ),
        pytest.param(
            SAFE | {"appendonly": "no", "maxmemory-policy": "allkeys-lru"},
            ["appendonly yes", "maxmemory-policy noeviction"],
            id="cache",
        ),
    ],
)
def test_settings_that_may_lose_jobs_are_named_with_a_cure(
    settings: dict[str, str], cures: list[str]
) -> None:
    risks = risks_of(settings)

    assert len(risks) == len(cures)
    assert all(risk.endswith(cure) for risk, cure in zip(risks, cures, strict=True))
