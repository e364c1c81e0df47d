"""The operations that TensorFlow has."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def unknown_operations(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names that are no operation of TensorFlow, each with the nearest ones.

    The first call imports TensorFlow.
    """
    from inference.backend import tf

    public = dir(tf.raw_ops)
    # Only now: the backend sets up how TensorFlow is imported.
    from tensorflow.python.framework import op_def_registry

    unknown = [name for name in names if op_def_registry.get(name) is None]
    return {name: difflib.get_close_matches(name, public, n=3) for name in unknown}
