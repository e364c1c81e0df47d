"""Files with changed bytes: checked before TensorFlow sees them, without a crash."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.frozen_graph import read_graph
from inference.permissions import Permissions
from inference.repository.sidecar import Sidecar
from tests.support.graphs import old_control_flow, rows, write_graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TIMES = 400
DIGITS = b"0123456789:^"


def functions() -> None:
    doubled = tf.function(lambda value: tf.split(value * 2.0, 2, axis=1))
    x = rows("x", 4)
    tf.concat([*doubled(x), tf.cond(x[0, 0] > 0, lambda: x, lambda: -x)], 1, name="y")


def frames() -> None:
    with old_control_flow():
        _, last = tf.while_loop(
            lambda index, _: index < 3,
            lambda index, value: (index + 1, tf.tanh(value)),
            (tf.constant(0), rows("x", 4)),
        )
        tf.identity(last, name="y")


def changed(content: bytes, chance: random.Random) -> bytes:
    """Replace or remove some bytes, at random or by those of references."""
    damaged = bytearray(content)

    for _ in range(chance.choice([1, 1, 2, 4])):
        place = chance.randrange(len(damaged))
        damaged[place : place + 1] = chance.choice(
            [chance.randbytes(1), bytes([chance.choice(DIGITS)]), b""]
        )

    return bytes(damaged)


@pytest.mark.parametrize("build", [functions, frames])
def test_damaged_graph_passes_or_is_refused(
    tmp_path: Path, build: Callable[[], Any]
) -> None:
    path = write_graph(tmp_path / "model.pb", build)
    whole, chance, refused = path.read_bytes(), random.Random(7), 0

    for _ in range(TIMES):
        path.write_bytes(changed(whole, chance))

        try:
            read_graph(path, Sidecar(), Permissions())
        except InvalidModel:
            refused += 1

    assert TIMES * 0.3 < refused < TIMES
