from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.artifacts.artifact import Manifest
from inference.artifacts.cache import ArtifactCache
from inference.errors import InputMismatch
from inference.runtime import tuning
from inference.runtime.servable import this_machine
from inference.runtime.tuning import (
    Tuning,
    TuningFile,
    choose,
    circumstances,
    pairs,
    tune,
)
from tests.support.graphs import compile_graph, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.artifacts.artifact import Artifact
    from inference.runtime.throughput import Pair
    from inference.types import Signature

RATES = {(1, 4): 50.0, (4, 1): 100.0, (2, 2): 80.0}


class Measuring:
    """A fake of `measure`: returns `answer` and records its arguments."""

    def __init__(self, answer: dict[Pair, float] | Exception) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def __call__(
        self, artifact: Artifact, signature: Signature, tried: list[Pair], **how: Any
    ) -> dict[Pair, float]:
        self.asked.append({"signature": signature.name, "pairs": tried, **how})

        if isinstance(self.answer, Exception):
            raise self.answer

        return self.answer


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return compile_graph(tmp_path, lambda: rows("x", 4) * np.float32(2.0))


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Measuring:
    return install(monkeypatch, RATES)


def install(
    monkeypatch: pytest.MonkeyPatch, answer: dict[Pair, float] | Exception
) -> Measuring:
    measuring = Measuring(answer)
    monkeypatch.setattr(tuning, "measure", measuring)
    return measuring


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        (1, [(1, 1)]),
        (2, [(1, 2), (2, 1)]),
        (3, [(1, 3), (3, 1), (2, 1)]),
        (4, [(1, 4), (4, 1), (2, 2)]),
        (6, [(1, 6), (6, 1), (2, 3), (4, 1)]),
        (16, [(1, 16), (16, 1), (2, 8), (4, 4), (8, 2)]),
    ],
)
def test_pairs_fill_the_cpus(cpus: int, expected: list[Pair]) -> None:
    assert pairs(cpus) == expected


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        pytest.param(RATES, (4, 1), id="the most rows"),
        pytest.param({(1, 2): 9.0}, (1, 2), id="the only one"),
        pytest.param({(1, 4): 91, (4, 1): 100, (2, 2): 99}, (1, 4), id="close"),
        pytest.param({(1, 4): 90, (4, 1): 100, (2, 2): 95}, (1, 4), id="just close"),
        pytest.param({(1, 4): 89, (4, 1): 100, (2, 2): 91}, (2, 2), id="fewer calls"),
        pytest.param({(4, 1): 70, (2, 2): 10, (1, 4): 99}, (1, 4), id="any order"),
    ],
)
def test_choice_prefers_fewer_calls_among_close_rates(
    measured: dict[Pair, float], expected: Pair
) -> None:
    assert choose(measured) == expected


def test_measurements_are_reused(artifact: Artifact, measuring: Measuring) -> None:
    first = tune(artifact, cpus=4, rows=16)
    again = tune(artifact, cpus=4, rows=16)

    assert first == Tuning(
        concurrency=4, intra_op=1, reason="measured", measured=RATES, kept=True
    )
    assert again == replace(first, reason="measured earlier")
    assert measuring.asked == [
        {
            "signature": "serving_default",
            "pairs": [(1, 4), (4, 1), (2, 2)],
            "rows": 16,
            "seconds": tuning.BUDGET_SECONDS,
        }
    ]


def test_other_circumstances_are_measured_apart(
    artifact: Artifact, measuring: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        tune(artifact, cpus=4, rows=8)
        tune(artifact, cpus=4, rows=1)
        tune(artifact, cpus=2, rows=8)

    assert len(measuring.asked) == 3

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "cpu_name", lambda: "another")
        assert tune(artifact, cpus=4, rows=8).reason == "measured"

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "version_of", lambda _: "3.0")
        assert tune(artifact, cpus=4, rows=8).reason == "measured"

    assert tune(artifact, cpus=4, rows=8).reason == "measured earlier"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"concurrency": 3, "intra_op": 5}, (3, 5), id="both"),
        pytest.param({"concurrency": 2}, (2, 4), id="calls"),
        pytest.param({"concurrency": 3}, (3, 2), id="calls, not even"),
        pytest.param({"concurrency": 20}, (20, 1), id="more calls than CPUs"),
        pytest.param({"intra_op": 2}, (4, 2), id="threads"),
        pytest.param({"intra_op": 20}, (1, 20), id="more threads than CPUs"),
    ],
)
def test_given_values_are_kept(
    artifact: Artifact, measuring: Measuring, given: dict[str, Any], expected: Pair
) -> None:
    found = tune(artifact, cpus=8, **given)

    assert (found.concurrency, found.intra_op) == expected
    assert (found.reason, found.measured, found.kept) == ("as set", {}, False)
    assert measuring.asked == []


def test_one_cpu_leaves_no_choice(artifact: Artifact, measuring: Measuring) -> None:
    assert tune(artifact, cpus=1) == Tuning(concurrency=1, intra_op=1, reason="one CPU")
    assert measuring.asked == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param({}, "a call takes too long", id="no time"),
        pytest.param({(1, 4): 3.0}, "a call takes too long", id="time for one only"),
        pytest.param(InputMismatch("It refused."), "It refused.", id="failed"),
    ],
)
def test_unmeasurable_model_gets_the_default(
    artifact: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    answer: dict[Pair, float] | Exception,
    why: str,
) -> None:
    measuring = install(monkeypatch, answer)
    expected = Tuning(concurrency=4, intra_op=4, reason=f"not measured ({why})")

    assert tune(artifact, cpus=4) == expected
    # It isn't kept: another time may be better.
    assert tune(artifact, cpus=4) == expected
    assert len(measuring.asked) == 2


def test_model_without_a_sample_gets_the_default(
    artifact: Artifact, measuring: Measuring
) -> None:
    manifest = artifact.read_manifest().model_dump()
    manifest["signatures"]["serving_default"]["sample"] = None
    artifact.write_manifest(Manifest.model_validate(manifest))
    found = tune(artifact, cpus=4)

    assert (found.concurrency, found.intra_op) == (4, 4)
    assert found.reason == "not measured (no inputs are known that it takes)"
    assert measuring.asked == []


def test_another_signature_may_have_the_sample(
    artifact: Artifact, measuring: Measuring
) -> None:
    manifest = artifact.read_manifest().model_dump()
    signatures = manifest["signatures"]
    signatures["other"] = signatures["serving_default"]
    signatures["serving_default"] = signatures["other"] | {"sample": None}
    artifact.write_manifest(Manifest.model_validate(manifest))

    assert tune(artifact, cpus=4).reason == "measured"
    assert measuring.asked[0]["signature"] == "other"


def kept_file(artifact: Artifact) -> Path:
    onednn = this_machine().onednn
    here = circumstances(cpus=4, rows=8, onednn=onednn, portable=False)
    return TuningFile(artifact.folder, here).path


def changed(text: str, **changes: Any) -> str:
    return json.dumps(json.loads(text) | changes)


def with_rate(text: str, rate: float) -> str:
    entry = {"concurrency": 1, "intra_op": 4, "rows_per_second": rate}
    return changed(text, measured=[entry])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="cut"),
        pytest.param(lambda _: "[1, 2]", id="foreign"),
        pytest.param(lambda text: changed(text, measured=[]), id="no figures"),
        pytest.param(lambda text: changed(text, more=1), id="a newer form"),
        pytest.param(lambda text: with_rate(text, -1.0), id="negative"),
        pytest.param(lambda text: with_rate(text, float("nan")), id="not a number"),
        pytest.param(lambda text: text.replace('"cpus": 4', '"cpus": 5'), id="others"),
        pytest.param(lambda text: text.replace("tensorflow", "tensor"), id="field"),
    ],
)
def test_invalid_file_is_replaced(
    artifact: Artifact, measuring: Measuring, damage: Callable[[str], str]
) -> None:
    tune(artifact, cpus=4, rows=8)
    path = kept_file(artifact)
    path.write_text(damage(path.read_text()))

    assert tune(artifact, cpus=4, rows=8).reason == "measured"
    assert tune(artifact, cpus=4, rows=8).reason == "measured earlier"


def test_read_only_folder_is_tolerated(
    artifact: Artifact, measuring: Measuring
) -> None:
    # A folder of that name can't be replaced by a file, not even by root.
    kept_file(artifact).mkdir()
    (kept_file(artifact) / "inside").touch()
    before = sorted(artifact.folder.iterdir())

    for _ in range(2):
        found = tune(artifact, cpus=4, rows=8)
        assert (found.reason, found.kept) == ("measured", False)

    assert sorted(artifact.folder.iterdir()) == before


def test_the_artifact_stays_whole(artifact: Artifact, measuring: Measuring) -> None:
    tune(artifact, cpus=4)
    cache = ArtifactCache(artifact.folder.parent)
    found = cache.find(artifact.folder.name)

    assert found == (artifact, artifact.read_manifest())
    assert len(list(artifact.folder.iterdir())) == 4


def test_a_real_model(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "BUDGET_SECONDS", 60.0)
    found = tune(artifact, cpus=2)

    assert (found.concurrency, found.intra_op) in found.measured
    assert found.kept
    assert tune(artifact, cpus=2) == replace(found, reason="measured earlier")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            Tuning(concurrency=2, intra_op=1, reason="as set"),
            "2x1 calls x threads, as set",
        ),
        (
            Tuning(
                concurrency=2,
                intra_op=1,
                reason="measured",
                measured={(1, 2): 4.321, (2, 1): 12345.6},
            ),
            "2x1 calls x threads, measured: 1x2 4.32, 2x1 12,346 rows/s",
        ),
    ],
)
def test_description_names_choice_and_rates(found: Tuning, expected: str) -> None:
    assert found.describe() == expected
