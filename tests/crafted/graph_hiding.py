"""Frozen graphs whose harm is hidden."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from tests.crafted.case import Crafted
from tests.crafted.graph_files import UNSAFE, built, edited, node, plain
from tests.support.graphs import rows

if TYPE_CHECKING:
    from collections.abc import Callable

WRITES = f"WriteFile, {UNSAFE}"


def sing(canary: str) -> Any:
    return tf.io.write_file(canary, "sung")


def singing(canary: str) -> Any:
    """Build a function that writes and passes its argument on."""

    def inner(value: Any) -> Any:
        with tf.control_dependencies([sing(canary)]):
            return tf.identity(value)

    return inner


def in_a_function(canary: str) -> None:
    tf.identity(tf.function(singing(canary))(rows("x", 2)), name="y")


def in_a_nested_function(canary: str) -> None:
    inner = tf.function(singing(canary))
    middle = tf.function(lambda value: inner(value) + 1.0)
    tf.identity(tf.function(lambda value: middle(value) * 2.0)(rows("x", 2)), name="y")


def in_a_loop(canary: str) -> None:
    turn = singing(canary)
    first = tf.constant(0)
    _, last = tf.while_loop(
        lambda index, _: index < 2,
        lambda index, value: (index + 1, turn(value)),
        (first, rows("x", 2)),
    )
    tf.identity(last, name="y")


def in_a_loops_condition(canary: str) -> None:
    ask = singing(canary)
    _, last = tf.while_loop(
        lambda index, _: ask(index < 2),
        lambda index, value: (index + 1, value),
        (tf.constant(0), rows("x", 2)),
    )
    tf.identity(last, name="y")


def in_a_branch(canary: str) -> None:
    x = rows("x", 2)
    chosen = tf.cond(
        tf.reduce_sum(x) > 1e30, lambda: singing(canary)(x), lambda: x + 1.0
    )
    tf.identity(chosen, name="y")


def in_a_list_of_branches(canary: str) -> None:
    """Hide it in functions that only a list attribute names."""
    x = rows("x", 2)
    branches = [lambda: x, lambda: x + 1.0, lambda: singing(canary)(x)]
    tf.identity(tf.switch_case(tf.cast(x[0, 0], tf.int32), branches), name="y")


def in_an_old_branch(canary: str) -> None:
    """Hide it in control flow as TensorFlow 1 made it, in the graph itself."""
    tf1.disable_control_flow_v2()

    try:
        in_a_branch(canary)
    finally:
        tf1.enable_control_flow_v2()


def behind_a_default(canary: str) -> None:
    """Hide it behind a default, which is computed once, for the metadata."""
    with tf.control_dependencies([sing(canary)]):
        default = tf.identity(tf.ones([1, 2]))

    tf.identity(tf1.placeholder_with_default(default, [None, 2], name="x"), name="y")


def in_a_shape(canary: str) -> None:
    """Hide it in a shape: shapes that depend on constants are computed on import."""
    shape = tf.raw_ops.DebugIdentity(
        input=tf.identity(tf.constant([-1, 2])),
        tensor_name="a:0",
        debug_urls=[f"file://{canary}"],
    )
    tf.reshape(rows("x", 2), shape, name="y")


def calls() -> None:
    tf.identity(tf.function(lambda value: value * 2.0)(rows("x", 2)), name="y")


def call(graph_def: Any) -> Any:
    return next(each for each in graph_def.node if each.op.endswith("PartitionedCall"))


def name_as_attribute(graph_def: Any, canary: str) -> None:
    """Hide it in a function that is another function's attribute."""
    evil = function(graph_def, in_a_function, canary)
    calling = call(graph_def)
    calling.attr["f"].func.attr["body"].func.name = evil


def gradient(graph_def: Any, canary: str) -> None:
    """Hide it in a gradient, which belongs to its function."""
    evil = function(graph_def, in_a_function, canary)
    called = call(graph_def).attr["f"].func.name
    graph_def.library.gradient.add(function_name=called, gradient_func=evil)


def function(graph_def: Any, build: Callable[[str], None], canary: str) -> str:
    """Add the functions of another graph; return the name of the first."""
    with tf.Graph().as_default() as other:
        build(canary)

    library = other.as_graph_def().library
    known = {each.signature.name for each in graph_def.library.function}
    added = [each for each in library.function if each.signature.name not in known]
    graph_def.library.function.extend(added)
    return str(added[0].signature.name)


def under_a_functions_name(graph_def: Any, canary: str) -> None:
    """Name a function of the library like an operation."""
    calling = call(graph_def)
    body = next(iter(graph_def.library.function))
    body.signature.name = "ReadFile"
    text = graph_def.node.add(name="text", op="Placeholder")
    text.attr["dtype"].type = tf.string.as_datatype_enum
    read = graph_def.node.add(name="read", op="ReadFile", input=["text"])
    node(graph_def, "y").input.append(f"^{read.name}")
    calling.attr["f"].func.name = "ReadFile"


def itself(graph_def: Any, canary: str) -> None:
    """Build a function that calls itself, to be inlined without end."""
    body = next(iter(graph_def.library.function))
    body.node_def[0].CopyFrom(call(graph_def))
    body.node_def[0].name = "again"
    body.node_def[0].input[:] = [body.signature.input_arg[0].name]


def in_a_chain(graph_def: Any, *, length: int, each: int) -> None:
    """Build functions that each call the next many times."""
    first = graph_def.library.function[0]
    names = [first.signature.name, *(f"link_{number}" for number in range(length))]
    last = tf1.GraphDef().library.function.add()
    last.CopyFrom(first)
    last.signature.name = names[-1]
    graph_def.library.function.append(last)

    for name, following in pairwise(names):
        body = first if name == names[0] else graph_def.library.function.add()
        body.CopyFrom(last)
        body.signature.name = name
        del body.node_def[:]

        for number in range(each):
            added = body.node_def.add()
            added.CopyFrom(call(graph_def))
            added.name = f"call_{number}"
            added.attr["f"].func.name = following
            before = f"call_{number - 1}:output:0"
            argument = body.signature.input_arg[0].name
            added.input[:] = [before if number else argument]


def deep(graph_def: Any, canary: str) -> None:
    in_a_chain(graph_def, length=200, each=1)


def doubling(graph_def: Any, canary: str) -> None:
    in_a_chain(graph_def, length=40, each=2)


def skipgram(graph_def: Any, canary: str) -> None:
    """Use an operation that only graphs of old versions may have."""
    graph_def.versions.producer = 18
    added = graph_def.node.add(name="words", op="Skipgram")
    added.attr["filename"].s = b"/etc/hostname"
    added.attr["batch_size"].i = 1
    node(graph_def, "y").input.append("^words")


def unknown(graph_def: Any, canary: str) -> None:
    added = graph_def.node.add(name="shell", op="ShellExecute")
    added.attr["command"].s = f"touch {canary}".encode()
    node(graph_def, "y").input.append("^shell")


IN_FUNCTION = f"in the function '.*' is a {WRITES}"

CASES: list[Crafted] = [
    Crafted(name="function", make=built(in_a_function), reason=IN_FUNCTION),
    Crafted(name="nested", make=built(in_a_nested_function), reason=IN_FUNCTION),
    Crafted(name="loop", make=built(in_a_loop), reason=IN_FUNCTION),
    Crafted(name="condition", make=built(in_a_loops_condition), reason=IN_FUNCTION),
    Crafted(name="branch", make=built(in_a_branch), reason=IN_FUNCTION),
    Crafted(name="branches", make=built(in_a_list_of_branches), reason=IN_FUNCTION),
    Crafted(name="old_branch", make=built(in_an_old_branch), reason=WRITES),
    Crafted(name="default", make=built(behind_a_default), reason=WRITES),
    Crafted(name="shape", make=built(in_a_shape), reason=f"DebugIdentity, {UNSAFE}"),
    Crafted(
        name="function_attribute",
        make=edited(calls, name_as_attribute),
        reason=IN_FUNCTION,
    ),
    Crafted(name="gradient", make=edited(calls, gradient), reason=IN_FUNCTION),
    Crafted(
        name="function_named_as_operation",
        make=edited(calls, under_a_functions_name),
        reason=f"ReadFile, {UNSAFE}",
    ),
    Crafted(name="recursion", make=edited(calls, itself), reason="calls itself"),
    Crafted(name="deep_calls", make=edited(calls, deep), reason="more than 100 deep"),
    Crafted(name="doubling", make=edited(calls, doubling), reason="10,000,000 oper"),
    Crafted(
        name="skipgram", make=edited(plain, skipgram), reason=f"Skipgram, {UNSAFE}"
    ),
    Crafted(
        name="unknown_operation",
        make=edited(plain, unknown),
        reason="doesn't have: ShellExecute",
    ),
]
