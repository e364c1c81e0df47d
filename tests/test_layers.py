"""Which part may import which, read from the source: nothing here is run."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest

import inference
from tests import PROJECT
from tests.support.draw_floors import PICTURE, picture
from tests.support.imports import Module, modules, rooms, root

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

FLOORS = (
    # The compiler runs as a child process; nothing imports it.
    {"inference.compiler"},
    {"inference.compiler.state"},
    {"inference.compiler.rewriting", "inference.compiler.verification"},
    {"inference.compiler.sandbox"},
    # Formats are read by the compiler alone.
    {"inference.formats"},
    {"inference.formats.keras", "inference.formats.saved_model"},
    {"inference.formats.kernels", "inference.formats.training"},
    {"inference.formats.screening", "inference.formats.keras.history"},
    {"inference.formats.graph", "inference.formats.keras.vocabulary"},
    # The server's side.
    {"service.embedding"},
    {"service.composition"},
    {"service.app"},
    {"service.cli", "service.routes"},
    {"service.tracing", "service.web"},
    {"service.bridge"},
    {"service.bulk", "service.infer", "service.server", "service.terminal"},
    {"service.dashboard", "service.payloads", "service.prediction"},
    {"service.decoding", "service.openapi", "service.telemetry"},
    {
        "service.codecs",
        "service.codecs.tfserving",
        "service.codecs.v2",
        "service.settings",
    },
    {"service.codecs.json", "service.auth"},
    {"service.caching", "service.jobs"},
    {"inference"},
    {"inference.engine", "inference.offline"},
    {"inference.lifecycle"},
    {"inference.batching"},
    # What both stand on.
    {"inference.runtime"},
    {"inference.artifacts"},
    {"inference.inputs"},
    {"inference.repository"},
    {"inference.config"},
    {"inference.limits", "inference.permissions"},
    {"inference.system"},
    {"inference.backend", "inference.dtypes", "inference.types"},
    {"inference.background", "inference.errors", "inference.histogram"},
)
"""Rooms from the top to the ground: one imports only from those below it.

A room is a package, without the packages in it, or a module of the top level.
"""

WEB = {"asgiref", "flask", "h11", "httptools", "uvicorn", "werkzeug"}
TENSORFLOW = {
    "inference.backend",
    "inference.runtime.image_kernels",
    "inference.runtime.operations",
    "inference.runtime.servable",
}
HANDING_ON = "inference.artifacts.child"
SETTING_UP = {"inference.backend", "inference.formats.keras.loading"}
KERAS = {"inference.formats.keras.loading", "inference.formats.keras.weights"}

INFERENCE = modules("inference")
SERVICE = modules("service")
ALL = [*INFERENCE, *SERVICE, Module(name="asgi", path=PROJECT / "asgi.py")]


FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """Return the rooms as they are; to read them all takes seconds."""
    return rooms([*INFERENCE, *SERVICE])


def users(modules: Iterable[Module], roots: Collection[str]) -> set[str]:
    """Return the modules that import from one of the packages."""
    return {
        module.name
        for module in modules
        if {root(name) for name in module.imported()} & set(roots)
    }


def test_the_service_has_one_door_to_inference() -> None:
    inside = {
        module.name: [n for n in module.imported() if n.startswith("inference.")]
        for module in ALL[len(INFERENCE) :]
    }

    assert {name: names for name, names in inside.items() if names} == {}


def test_the_service_knows_no_tensorflow() -> None:
    assert users(SERVICE, {"h5py", "keras", "tensorflow", "tf_keras"}) == set()


def test_inference_knows_no_http() -> None:
    assert users(INFERENCE, {*WEB, "service", "asgi"}) == set()


def test_inference_reads_no_environment() -> None:
    """Two modules set what TensorFlow and Keras read when they are imported.

    A third hands some of it on to a child process.
    """
    reads = {module.name: _environment_reads(module) for module in INFERENCE}
    trees = {module.name: module.tree for module in INFERENCE}

    assert reads.pop(HANDING_ON) == ["os.environ"]
    for name in SETTING_UP:
        assert reads.pop(name), name
        assert set(_environment_uses(trees[name])) <= {"set", "setdefault"}, name

    assert {name: found for name, found in reads.items() if found} == {}


def _environment_reads(module: Module) -> list[str]:
    return [
        ast.unparse(node)
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"))
        or (isinstance(node, ast.alias) and node.name in ("environ", "getenv"))
    ]


def _environment_uses(tree: ast.Module) -> Iterator[str]:
    """Yield the uses of `os.environ`: a subscript's `set`, or a method's name."""
    for node in ast.walk(tree):
        value = getattr(node, "value", None)

        if not isinstance(value, ast.Attribute) or value.attr != "environ":
            continue

        if isinstance(node, ast.Subscript):
            yield "set" if isinstance(node.ctx, ast.Store) else "read"
        else:
            yield getattr(node, "attr", "read")


def test_where_tensorflow_is_known() -> None:
    direct = users(INFERENCE, {"tensorflow"})
    ours = {m.name for m in INFERENCE if "inference.backend" in m.imported()}
    compiler = ("inference.compiler", "inference.formats")

    assert {
        name for name in direct | ours if not name.startswith(compiler)
    } <= TENSORFLOW


def test_where_keras_is_known() -> None:
    assert users(INFERENCE, {"keras", "tf_keras"}) <= KERAS


def test_the_package_imports_neither_tensorflow_nor_the_compiler() -> None:
    """Follow all that `import inference` pulls in."""
    by_name = {module.name: module for module in INFERENCE}
    found: set[str] = set()
    waiting = ["inference"]

    while waiting:
        name = waiting.pop()

        if name in by_name and name not in found:
            waiting += [i.name for i in by_name[name].imports() if not i.late]

        found.add(name)

    assert "inference.engine" in found
    assert not {root(name) for name in found} & {"tensorflow", "keras", "h5py"}
    assert not any(
        name.startswith(("inference.compiler.", "inference.formats.")) for name in found
    )
    assert "inference.runtime.servable" not in found


def test_every_room_has_its_floor(found: dict[str, set[str]]) -> None:
    assert sorted(found.keys() - {"service"}) == sorted(FLOOR)


def test_a_room_imports_only_from_lower_floors(found: dict[str, set[str]]) -> None:
    """Imports for type checkers count: they tie the same words together."""
    wrong = {
        room: {name for name in found[room] if FLOOR[name] <= FLOOR[room]}
        for room in FLOOR
    }

    assert {room: names for room, names in wrong.items() if names} == {}


def test_the_picture_of_the_floors_is_up_to_date() -> None:
    assert PICTURE.read_text("utf-8") == picture(), (
        "run: python -m tests.support.draw_floors"
    )


def test_no_import_cycles() -> None:
    """Late imports count: they only hide a cycle."""
    names = {module.name for module in ALL}
    graph = {
        module.name: {i.name for i in module.imports() if i.name in names}
        - {module.name, *_parents(module.name)}
        for module in ALL
    }

    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def _parents(name: str) -> list[str]:
    """A package's own name: its modules are imported with it, not by it."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


@pytest.mark.parametrize("name", ["inference.errors", "inference.types"])
def test_errors_and_types_are_leaves(name: str) -> None:
    module = next(module for module in INFERENCE if module.name == name)

    assert not {root(name) for name in module.imported()} & {"inference", "anyio"}


def test_only_batching_uses_asyncio_in_inference() -> None:
    """A future and a callback of the loop's own for each request are cheapest there."""
    users = [module.name for module in INFERENCE if "asyncio" in module.imported()]

    assert {name.rpartition(".")[0] for name in users} == {"inference.batching"}


def test_the_door_is_complete_and_sorted() -> None:
    tree = next(module for module in INFERENCE if module.name == "inference").tree
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert set(inference.__all__) == imported
    assert len(inference.__all__) == len(imported)
    order = sorted(inference.__all__, key=_ruffs_order)
    assert inference.__all__ == order
    assert all(hasattr(inference, name) for name in inference.__all__)


def _ruffs_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    kinds = (name.isupper(), name[0].isupper(), True)
    return kinds.index(True), name


def test_every_error_comes_through_the_door() -> None:
    from inference import errors

    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }

    assert classes <= set(inference.__all__)
