"""A run's tables and verdicts: printed as they come, and kept as a page of Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.report import about_machine, conclude, table_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.report import Target


class Page:
    """`introduction` says what was measured and how; the machine is added to it."""

    def __init__(self, title: str, introduction: str) -> None:
        about = [f"- {name}: {text}" for name, text in about_machine().items()]
        self._parts = [f"# {title}"]
        self.text(introduction)
        self.text("\n".join(about))

    def text(self, text: str) -> None:
        """A paragraph, or a list."""
        self._parts.append(text)
        print(f"{text}\n", flush=True)

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> None:
        lines = "\n".join(table_lines(columns, rows))
        self.text(f"## {title}\n\n{lines}")

    def conclude(self, targets: Sequence[Target], path: Path | None) -> int:
        """Print each target's verdict and write the page to `path`, if there is one;
        the exit status, 1 where a target was missed."""
        rows = [
            (each.name, f"{each.kind} {each.limit:g}", f"{each.figure:.4g}", verdict)
            for each in targets
            for verdict in ["PASS" if each.met else "FAIL"]
        ]
        table = table_lines(("figure", "limit", "measured", "verdict"), rows)
        self._parts.insert(3, "\n".join(["## Figures to reach", "", *table]))

        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n\n".join(self._parts) + "\n", encoding="utf-8")

        return conclude(targets)
