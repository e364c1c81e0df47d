"""Alert rules and the dashboard: they use metrics that exist, and work."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from service.telemetry.families import FAMILIES, Family, Kind
from tests import PROJECT
from tests.support.promtool import promtool

if TYPE_CHECKING:
    from pathlib import Path

PROMETHEUS = PROJECT / "deploy" / "prometheus"
RULES, CASES = PROMETHEUS / "alerts.yml", PROMETHEUS / "alerts_test.yml"
DASHBOARD = json.loads((PROJECT / "deploy" / "grafana" / "tandem.json").read_text())
ALERTS = re.findall(r"alert: (\w+)", RULES.read_text())
METRIC = re.compile(r"\b((?:tandem|process)_\w+)")
VARIABLES = {"$__rate_interval": "5m", "$job": ".*", "$instance": ".*", "$model": ".*"}


def sample_names(family: Family) -> set[str]:
    if family.kind is Kind.COUNTER:
        return {f"{family.name}_total"}

    if family.kind is Kind.HISTOGRAM:
        return {f"{family.name}_{suffix}" for suffix in ("bucket", "sum", "count")}

    return {family.name}


KNOWN = set().union(*map(sample_names, FAMILIES.values()))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def test_rules_are_valid() -> None:
    checked = promtool("check", "rules", str(RULES))

    assert checked.returncode == 0, checked.stderr


def test_each_alert_fires_and_stays_quiet_in_a_case() -> None:
    checked = promtool("test", "rules", str(CASES))
    cases = CASES.read_text()

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(ALERTS) > 10
    for alert in ALERTS:
        assert re.search(rf"alertname: {alert}\n +exp_alerts:\n +- exp_labels", cases)
        assert f"alertname: {alert}, exp_alerts: []" in cases


def test_cases_fail_for_another_threshold(tmp_path: Path) -> None:
    (tmp_path / CASES.name).write_text(CASES.read_text())
    changed = RULES.read_text().replace("== 0\n", "== 7\n")
    (tmp_path / RULES.name).write_text(changed)

    assert promtool("test", "rules", CASES.name, folder=tmp_path).returncode == 1


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_its_advice(alert: str) -> None:
    assert f"\n### {alert}\n" in (PROJECT / "docs" / "metrics.md").read_text()
    assert f"runbook: docs/metrics.md#{alert.lower()}\n" in RULES.read_text()


def test_alerts_use_metrics_that_exist() -> None:
    assert set(METRIC.findall(RULES.read_text())) <= KNOWN


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panels_use_metrics_that_exist(panel: dict[str, Any]) -> None:
    names = [set(METRIC.findall(each)) for each in queries(panel)]

    assert all(names)
    assert set().union(*names) <= KNOWN


def test_queries_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    rules = []
    for number, query in enumerate(each for panel in PANELS for each in queries(panel)):
        for name, value in VARIABLES.items():
            query = query.replace(name, value)

        rules.append({"record": f"query:{number}", "expr": query})

    # JSON is YAML, too.
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = promtool("check", "rules", str(file))

    assert len(rules) > 30
    assert "$" not in file.read_text()
    assert checked.returncode == 0, checked.stderr


def test_metrics_are_on_the_dashboard() -> None:
    shown = {
        name
        for panel in PANELS
        for each in queries(panel)
        for name in METRIC.findall(each)
    }
    missing = {
        family.name for family in FAMILIES.values() if not sample_names(family) & shown
    }

    assert missing == {"process_virtual_memory_bytes", "process_start_time_seconds"}


def test_panels_have_places_of_their_own() -> None:
    places = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24
                assert (x, y) not in places
                places.add((x, y))

    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
