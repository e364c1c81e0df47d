"""Draw the project's rooms by floor: `python -m tests.support.draw_floors`.

Writes docs/floors.svg from the imports. A room stands one floor above the highest that
it imports from; one of `service` right below the lowest that imports from it. An arrow
that other arrows imply isn't drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import TopologicalSorter
from html import escape
from typing import TYPE_CHECKING

from tests import PROJECT
from tests.support.imports import modules, rooms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PICTURE = PROJECT / "docs" / "floors.svg"
COLUMNS = {"serving": "The server's process", "compiling": "The compiler's process"}
COMPILING = ("inference.compiler", "inference.formats")
COLOURS = {"service": "#dbeafe", "serving": "#dcfce7", "compiling": "#fef3c7"}

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
font-family="sans-serif" font-size="12">
<defs><marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" \
markerHeight="6" orient="auto"><path d="M0,0 L6,3 L0,6 z" fill="#94a3b8"/>\
</marker></defs>
<rect width="{width}" height="{height}" fill="white"/>"""

GAP, WIDTH, HEIGHT = 16, 168, 30
FLOOR_HEIGHT = 54
TOP, LEFT = 56, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A room's place in the picture, in pixels."""

    room: str
    x: int
    y: int

    @property
    def below(self) -> tuple[int, int]:
        return self.x + WIDTH // 2, self.y + HEIGHT

    @property
    def above(self) -> tuple[int, int]:
        return self.x + WIDTH // 2, self.y


def main() -> None:
    PICTURE.write_text(picture(), "utf-8")


def picture() -> str:
    """Return the picture as SVG."""
    graph = rooms(modules("inference", "service"))
    graph.pop("service", None)
    boxes = place(floors(graph))
    arrows = [(above, below) for above in graph for below in direct(graph, above)]
    return _svg(boxes, sorted(arrows))


def floors(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Return each room's floor, from 0 for one that imports from no other."""
    found: dict[str, int] = {}
    order = list(TopologicalSorter(graph).static_order())

    for room in order:
        found[room] = 1 + max((found[each] for each in graph[room]), default=-1)

    for room in reversed(order):
        above = [found[each] for each in graph if room in graph[each]]

        if _kind(room) == "service" and above:
            found[room] = min(above) - 1

    return found


def direct(graph: Mapping[str, set[str]], room: str) -> set[str]:
    """Return the rooms that `room` imports from, less those that these imply."""
    implied = {below for each in graph[room] for below in _reached(graph, graph[each])}
    return graph[room] - implied


def place(floor_of: Mapping[str, int]) -> dict[str, Box]:
    """Lay out the rooms: a row for a floor, the highest first, in three columns."""
    top = max(floor_of.values())
    widths = {each: _widest(floor_of, each) for each in COLUMNS}
    boxes = {}
    left = LEFT

    for column in COLUMNS:
        for floor in range(top + 1):
            row = sorted(_row(floor_of, column, floor))
            start = left + (widths[column] - len(row)) * (WIDTH + GAP) // 2
            y = TOP + (top - floor) * FLOOR_HEIGHT

            for number, room in enumerate(row):
                boxes[room] = Box(room=room, x=start + number * (WIDTH + GAP), y=y)

        left += widths[column] * (WIDTH + GAP) + GAP * 2

    return boxes


def _reached(graph: Mapping[str, set[str]], starts: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(starts)

    while waiting:
        room = waiting.pop()

        if room not in found:
            found.add(room)
            waiting.extend(graph[room])

    return found


def _kind(room: str) -> str:
    if room.startswith("service"):
        return "service"

    return "compiling" if room.startswith(COMPILING) else "serving"


def _column(room: str) -> str:
    return "compiling" if _kind(room) == "compiling" else "serving"


def _row(floor_of: Mapping[str, int], column: str, floor: int) -> list[str]:
    return [
        room for room in floor_of if (_column(room), floor_of[room]) == (column, floor)
    ]


def _widest(floor_of: Mapping[str, int], column: str) -> int:
    return max(len(_row(floor_of, column, floor)) for floor in set(floor_of.values()))


def _svg(boxes: Mapping[str, Box], arrows: Iterable[tuple[str, str]]) -> str:
    width = max(box.x for box in boxes.values()) + WIDTH + LEFT
    height = max(box.y for box in boxes.values()) + HEIGHT + LEFT
    lines = [
        HEAD.format(width=width, height=height),
        *_headings(boxes),
        *(_arrow(boxes[above], boxes[below]) for above, below in arrows),
        *(_room(boxes[room]) for room in sorted(boxes)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _headings(boxes: Mapping[str, Box]) -> list[str]:
    lines = []

    for column, title in COLUMNS.items():
        places = [box.x for room, box in boxes.items() if _column(room) == column]
        middle = (min(places) + max(places) + WIDTH) // 2
        lines.append(
            f'<text x="{middle}" y="32" text-anchor="middle" font-size="16" '
            f'font-weight="bold">{title}</text>'
        )

    return lines


def _arrow(above: Box, below: Box) -> str:
    (x1, y1), (x2, y2) = above.below, below.above
    bend = max((y2 - y1) // 2, 12)
    return (
        f'<path d="M{x1},{y1} C{x1},{y1 + bend} {x2},{y2 - bend} {x2},{y2}" '
        'fill="none" stroke="#94a3b8" marker-end="url(#tip)"/>'
    )


def _room(box: Box) -> str:
    colour = COLOURS[_kind(box.room)]
    name = box.room.partition(".")[2] or f"{box.room} (the door)"
    return (
        f'<rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{HEIGHT}" rx="4" '
        f'fill="{colour}" stroke="#64748b"/>'
        f'<text x="{box.x + WIDTH // 2}" y="{box.y + 20}" text-anchor="middle">'
        f"{escape(name)}</text>"
    )


if __name__ == "__main__":
    main()
