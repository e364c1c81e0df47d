"""The memory that a model's values take, by what the model declares.

A constant of 83 bytes can declare gigabytes, which TensorFlow would allocate when it
imports the graph; a checkpoint's index can declare more than its data holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.graph.graphdef import located_nodes
from inference.formats.graph.tensors import known_dtype
from inference.formats.screening.attributes import constants
from inference.system.memory import MIB, show_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from inference.permissions import Permissions

FREE_BYTES = 64 * MIB
MAX_INFLATION = 1000
_STRING_BYTES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Bytes that values `declared`, and how many are `stored` for them in the file."""

    declared: int = 0
    stored: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            declared=self.declared + other.declared, stored=self.stored + other.stored
        )

    def inflated(self) -> bool:
        return (
            self.declared > FREE_BYTES and self.declared > self.stored * MAX_INFLATION
        )


def check_constants(graph_def: Any, *, file: str) -> int:
    """Return the bytes that the constants of `graph_def` declare.

    Raise `InvalidModel` if that is far more than the file stores for them.
    """
    total = Cost()

    for function, node in located_nodes(graph_def):
        inside = f" in the function '{function}'" if function else ""
        cost = _cost_of(node, f"{file}: node '{node.name}'{inside}")
        total += cost

        if cost.inflated() or total.inflated():
            raise InvalidModel(
                f"{file}: node '{node.name}'{inside} declares constants of "
                f"{show_bytes(total.declared)} for {total.stored:,} bytes that the "
                "file stores; such a file only fills memory. Export the model "
                "again."
            )

    return total.declared


def check_tensors(protos: Iterable[Any], *, where: str) -> None:
    """Raise `InvalidModel` for inflated constants outside a node."""
    if sum((_tensor_cost(each, where) for each in protos), Cost()).inflated():
        raise InvalidModel(
            f"{where} declares far more bytes than the file stores; such a file only "
            "fills memory. Export the model again."
        )


def check_budget(declared: int, permissions: Permissions, *, file: str) -> None:
    """Raise `InvalidModel` if values of `declared` bytes are over the budget."""
    most = permissions.memory_bytes

    if most is not None and declared > most:
        raise InvalidModel(
            f"{file}: its values take {show_bytes(declared)}, but a model may need "
            f"at most {show_bytes(most)} here. Raise --memory-budget, or export a "
            "smaller model."
        )


def checkpoint_bytes(prefix: Path) -> int:
    """Return the memory that the variables of the checkpoint at `prefix` take.

    Read from its index alone, 0 if there is none. Raise `InvalidModel` if it declares
    more than its data files hold, and TensorFlow's errors for a damaged one.
    """
    if not prefix.with_name(f"{prefix.name}.index").is_file():
        return 0

    reader = tf.train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    declared: int = sum(
        _count(shape) * dtypes[name].size
        for name, shape in shapes.items()
        # The size of strings isn't in the index.
        if dtypes[name] != tf.string
    )
    stored = sum(
        file.stat().st_size for file in prefix.parent.glob(f"{prefix.name}.data-*")
    )

    if declared > stored:
        raise InvalidModel(
            f"{prefix.parent.name}/{prefix.name}.index declares variables of "
            f"{show_bytes(declared)}, but the data beside it has "
            f"{show_bytes(stored)}. It is truncated or crafted; copy or export it "
            "again."
        )

    return declared


def _cost_of(node: Any, where: str) -> Cost:
    return sum((_tensor_cost(each, where) for each in constants(node.attr)), Cost())


def _tensor_cost(tensor: Any, where: str) -> Cost:
    sizes = [dim.size for dim in tensor.tensor_shape.dim]

    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
        raise InvalidModel(
            f"{where} holds a constant without a shape. Export the model again."
        )

    return Cost(
        declared=_count(sizes) * _itemsize(tensor.dtype, where),
        stored=tensor.ByteSize(),
    )


def _itemsize(dtype: int, where: str) -> int:
    known = known_dtype(dtype)

    if known is None:
        raise InvalidModel(
            f"{where} holds a constant of the unknown dtype {dtype}. Export the model "
            "again."
        )

    return _STRING_BYTES if known == tf.string else int(known.size or 1)


def _count(sizes: Iterable[int]) -> int:
    count = 1

    for size in sizes:
        count *= size

    return count
