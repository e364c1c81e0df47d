from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.kernels.adapting import adapt
from tests.support.layouts import PICTURES, graph, reduced, residual, transposed

if TYPE_CHECKING:
    from collections.abc import Callable

    Damage = Callable[[random.Random, Any, Any], None]

VALUES = [np.zeros(0, "int32"), np.eye(2, dtype="int32"), np.array("a"), np.array(-9)]


def lose_an_input(choose: random.Random, node: Any, _: Any) -> None:
    if node.input:
        del node.input[choose.randrange(len(node.input))]


def gain_an_input(choose: random.Random, node: Any, graph_def: Any) -> None:
    other = choose.choice(graph_def.node).name
    node.input.insert(0, choose.choice(["", "^", "a:99999999999", "a:b:c", other]))


def lose_an_attribute(choose: random.Random, node: Any, _: Any) -> None:
    if node.attr:
        del node.attr[choose.choice(sorted(node.attr))]


def change_an_attribute(choose: random.Random, node: Any, _: Any) -> None:
    value = node.attr[choose.choice(["T", "data_format", "dilations", "strides"])]
    value.Clear()
    value.type = choose.randrange(200)


def change_a_value(choose: random.Random, node: Any, _: Any) -> None:
    if node.op == "Const":
        proto = tf.make_tensor_proto(choose.choice(VALUES))
        node.attr["value"].tensor.CopyFrom(proto)


def change_the_operation(choose: random.Random, node: Any, graph_def: Any) -> None:
    others = {each.op for each in graph_def.node} | {"NoSuchOp", "Mean", "DecodePng"}
    node.op = choose.choice(sorted(others))


DAMAGES = (
    lose_an_input,
    gain_an_input,
    lose_an_attribute,
    change_an_attribute,
    change_a_value,
    change_the_operation,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_graph_is_refused_or_unchanged(damage: Damage) -> None:
    """The graph isn't imported yet when it is rewritten, so it may hold anything."""
    choose = random.Random(7)
    whole = [
        graph(build, PICTURES, first=True) for build in (residual, reduced, transposed)
    ]

    for _ in range(60):
        graph_def = type(whole[0])()
        graph_def.CopyFrom(choose.choice(whole))

        for _ in range(3):
            damage(choose, choose.choice(graph_def.node), graph_def)

        try:
            adapt(graph_def, ["y:0"])
        except InvalidModel as error:
            assert "export it again" in str(error)
