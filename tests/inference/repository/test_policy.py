from __future__ import annotations

from typing import Any

import pytest

from inference.repository.policy import missing, wanted
from inference.repository.sidecar import VersionsTable


@pytest.mark.parametrize(
    ("found", "table", "labelled", "versions"),
    [
        pytest.param([1, 2, 3], {"latest": 1}, [], [3], id="the newest"),
        pytest.param([3, 1, 2], {"latest": 2}, [], [2, 3], id="the newest two"),
        pytest.param([1, 2], {"latest": 5}, [], [1, 2], id="fewer than asked for"),
        pytest.param([9, 10], {"latest": 1}, [], [10], id="as numbers"),
        pytest.param([2, 1], {"all": True}, [], [1, 2], id="all"),
        pytest.param([1, 2, 3], {"only": [1, 3]}, [], [1, 3], id="only these"),
        pytest.param([1, 2], {"only": [2, 7]}, [], [2], id="one isn't there"),
        pytest.param([1, 2], {"only": [7]}, [], [], id="none is there"),
        pytest.param([], {"latest": 1}, [], [], id="nothing found"),
        pytest.param([1, 2, 3], {"latest": 1}, [1], [1, 3], id="an older label"),
        pytest.param([1, 2], {"latest": 1}, [2, 2], [2], id="labels on the newest"),
        pytest.param([1, 2, 3], {"only": [3]}, [2], [2, 3], id="a label beside"),
        pytest.param([1, 2], {"latest": 1}, [7], [2], id="a label on nothing"),
        pytest.param([2, 2, 1], {"all": True}, [1], [1, 2], id="each once"),
    ],
)
def test_wanted_versions_by_policy_and_label(
    found: list[int], table: dict[str, Any], labelled: list[int], versions: list[int]
) -> None:
    assert wanted(found, VersionsTable(**table), labelled) == versions


@pytest.mark.parametrize(
    ("table", "labels", "texts"),
    [
        pytest.param({"latest": 5}, {}, [], id="latest names none"),
        pytest.param({"only": [1, 2]}, {"stable": 1}, [], id="all there"),
        pytest.param(
            {"only": [1, 7]},
            {},
            ["version 7 isn't there; the sidecar's [versions] names it"],
            id="only",
        ),
        pytest.param(
            {"all": True},
            {"stable": 1, "canary": 9},
            ["version 9 isn't there; the label 'canary' points at it"],
            id="label",
        ),
    ],
)
def test_missing_versions_are_described(
    table: dict[str, Any], labels: dict[str, int], texts: list[str]
) -> None:
    assert missing([1, 2], VersionsTable(**table), labels) == texts
