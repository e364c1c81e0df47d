"""Imports of this project's modules, read from the source: nothing is run."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tests import PROJECT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path


ROOTS = {"inference", "service"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """A module that is imported; `late` inside a function, so not with its importer."""

    name: str
    late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module of this project, by its dotted name."""

    name: str
    path: Path

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.path)

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def imports(self) -> list[Import]:
        """Return what it imports when it runs, not what only type checkers see."""
        return list(_imports(self.tree, late=False))

    def imported(self) -> frozenset[str]:
        """Return all modules that it names, those for type checkers included."""
        return _imported(self.path)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def _imported(path: Path) -> frozenset[str]:
    return frozenset(name for node in ast.walk(_parsed(path)) for name in _names(node))


def _imports(node: ast.AST, *, late: bool) -> Iterator[Import]:
    for name in _names(node):
        yield Import(name=name, late=late)

    for child in _children(node):
        yield from _imports(child, late=late or _is_function(node))


def _children(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return list(node.orelse)

    return list(ast.iter_child_nodes(node))


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _names(node: ast.AST) -> Iterator[str]:
    """`from a import b` names `a.b` where that is a module, and else `a`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are absolute"
        whole = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (
            name if _file(name) is not None else node.module or "" for name in whole
        )


@cache
def _file(name: str) -> Path | None:
    place = PROJECT.joinpath(*name.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def modules(*packages: str) -> list[Module]:
    """Return all modules of `packages`, in the order of their paths."""
    return [
        Module(name=_module_name(path), path=path)
        for package in packages
        for path in sorted((PROJECT / package).rglob("*.py"))
    ]


def _module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def root(name: str) -> str:
    return name.partition(".")[0]


def rooms(modules: Iterable[Module]) -> dict[str, set[str]]:
    """Return the rooms, each with those that it imports from, for type checkers too.

    A room is a package without the packages in it, or a module of the top level.
    """
    by_name = {module.name: module for module in modules}
    packages = {name for name, each in by_name.items() if each.is_package}
    found: dict[str, set[str]] = {}

    for name, module in by_name.items():
        own = room_of(name, packages)
        others = {room_of(each, packages) for each in module.imported() & set(by_name)}
        found[own] = found.get(own, set()) | others - {own}

    return found


def room_of(name: str, packages: Collection[str]) -> str:
    """Return the room of the module `name`."""
    parent = name.rpartition(".")[0]
    return name if name in packages or parent in ROOTS else parent
