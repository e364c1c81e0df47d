"""The documents say what the code has: names of functions, settings, files."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from service.settings.compiler import PREFIX
from service.settings.groups import GROUPS
from service.telemetry.families import FAMILIES, Family, Kind
from service.telemetry.requests import REASONS
from service.web.errors import REASONS as REASONS_OF_ERRORS
from tests import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

DOCS = sorted((PROJECT / "docs").glob("*.md"))
NAME = re.compile(r"`((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)`")


def defined_names() -> set[str]:
    """Every function and class of ours, methods as `Class.method`, with its module."""
    names = set()

    for path in [*PROJECT.glob("inference/**/*.py"), *PROJECT.glob("service/**/*.py")]:
        module = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        module = module.removesuffix(".__init__")
        names |= {module, path.name}

        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names |= {node.name, f"{module}.{node.name}"}

            if isinstance(node, ast.ClassDef):
                methods = (getattr(each, "name", "") for each in node.body)
                names |= {f"{node.name}.{method}" for method in methods if method}
                names |= {getattr(each, "name", "") for each in node.body}

    return names


@pytest.mark.parametrize("page", ["architecture.md", "lifecycle.md"])
def test_pages_about_the_code_name_what_there_is(page: str) -> None:
    """Names of other libraries are those that the code uses under that name."""
    text = (PROJECT / "docs" / page).read_text()
    ours = defined_names()
    named = {name for name in NAME.findall(text) if "_" in name or "." in name}
    foreign = {
        "Flask.wsgi_app",
        "wsgi_app",
        "full_dispatch_request",
        "dispatch_request",
        "anyio.to_thread.run_sync",
        "gc.freeze",
        "inference.Engine",
        "Bridge.__call__",
        "manifest.json",
        "model.toml",
        "_SHAPING",
        "graph.pb",
        "weights.bin",
    }

    assert len(named) > 30
    assert named - ours - foreign == set()


def test_settings_are_all_described() -> None:
    text = (PROJECT / "docs" / "settings.md").read_text()

    # The last part is the text after the tables.
    tables = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:-2]
    assert tables[::2] == [*GROUPS]

    for table, group in zip(tables[1::2], GROUPS.values(), strict=True):
        rows = [line for line in table.splitlines() if PREFIX in line]
        for row, (name, field) in zip(rows, group.model_fields.items(), strict=True):
            assert f"`{PREFIX}{name.upper()}`" in row
            assert field.description
            assert field.description in row


def test_faults_are_tested_where_it_says() -> None:
    text = (PROJECT / "docs" / "operations.md").read_text()
    named = re.findall(r"`(\w+(?:/\w+)+\.py)`", text)

    assert len(named) > 10
    assert [each for each in named if not (PROJECT / "tests" / each).is_file()] == []


def metric_row(family: Family) -> str:
    name = f"{family.name}_total" if family.kind is Kind.COUNTER else family.name
    labels = f"{{{','.join(family.labels)}}}" if family.labels else ""
    return f"| `{name}{labels}` | {family.kind.value} | {family.text} |"


def test_metrics_are_all_described() -> None:
    text = (PROJECT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(?:tandem|process)_.*\|$", text, re.MULTILINE)

    assert rows == [metric_row(family) for family in FAMILIES.values()]


def test_reasons_of_refusals_are_all_described() -> None:
    text = (PROJECT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [45]\d\d.*\|$", text, re.MULTILINE)
    used = set(REASONS_OF_ERRORS.values())

    assert sorted(rows) == sorted(REASONS)
    assert used < set(REASONS)


@pytest.mark.parametrize(
    "path", [PROJECT / "README.md", *DOCS], ids=lambda path: path.name
)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("http") or (path.parent / target).exists(), target
