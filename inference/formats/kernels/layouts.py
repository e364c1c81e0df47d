"""Channels-last forms of a scope's images, while it is being rewritten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import tf, tf1
from inference.formats.graph.graphdef import node_of
from inference.formats.graph.nodes import constant_node
from inference.formats.kernels.scopes import copy_of, outputs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.formats.kernels.scopes import Scope
    from inference.types import Array

_SUFFIX = "channels_last"
_SAME_RANK = {"Abs", "Cast", "Exp", "Identity", "Neg", "Rsqrt", "Sqrt", "Square"}
_WIDER_RANK = {"Add", "AddV2", "Maximum", "Minimum", "Mul", "RealDiv", "Sub"}
_TELLING = {"Const", "Reshape"} | _SAME_RANK | _WIDER_RANK


def to_last(rank: int) -> list[int]:
    """Return the permutation from channels first to channels last."""
    return [0, *range(2, rank), 1]


def to_first(rank: int) -> list[int]:
    return [0, rank - 1, *range(1, rank - 1)]


def last_axis(axis: int, rank: int) -> int:
    """Return the channels-last position of the channels-first dimension `axis`."""
    return to_first(rank)[axis % rank]


class Layouts:
    """The channels-last forms of tensors, by the channels-first tensors.

    A channels-first tensor keeps its name, so that all its readers stay correct: `node`
    becomes the transposition of a new `node/channels_last`. Transpositions without
    readers are dropped in the end.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._last: dict[str, tuple[str, int]] = {}
        self._ranks: dict[str, int] = {}
        self._transposed: dict[tuple[str, int], str] = {}
        self._moved: dict[str, str] = {}
        self._spare: set[str] = set()

    def rank(self, tensor: str) -> int | None:
        """Return the rank of a tensor with a channels-last form; `None` for others."""
        return self._last[tensor][1] if tensor in self._last else None

    def learn(self, node: Any) -> None:
        """Record the rank of a `node` computed from constants and known shapes."""
        rank = self._rank(node) if node.op in _TELLING else None

        if rank is not None:
            self._ranks[f"{node.name}:0"] = rank

    def common_rank(self, tensors: Iterable[str]) -> int | None:
        """Return the rank of those with a channels-last form; `None` if they differ."""
        ranks = {self._last[each][1] for each in tensors if each in self._last}
        return ranks.pop() if len(ranks) == 1 else None

    def known(self, tensor: str) -> str:
        """Return the channels-last form of a tensor that has one."""
        return self._last[tensor][0]

    def note(self, tensor: str, last: str, rank: int) -> None:
        """Record that `last` is `tensor` with its channels last."""
        self._last[tensor] = last, rank
        self._ranks[tensor] = rank
        self._spare.add(node_of(tensor))

    def last(self, tensor: str, rank: int, dtype: int) -> str:
        """Return `tensor` channels last, transposed if it has no such form yet."""
        if self.rank(tensor) == rank:
            return self.known(tensor)

        if (tensor, rank) not in self._transposed:
            name = f"{node_of(tensor)}/to_{_SUFFIX}"
            node = self._transpose(name, tensor, to_last(rank), dtype)
            self._transposed[tensor, rank] = self.add(node, tensor)

        return self._transposed[tensor, rank]

    def operand(self, tensor: str, rank: int, dtype: int) -> str | None:
        """Return the replacement of `tensor` beside a channels-last image.

        `None` if its layout is unknown.
        """
        if self.rank(tensor) == rank:
            return self.known(tensor)

        value = self.scope.value(tensor)

        if value is not None and value.ndim <= rank:
            return self._constant(tensor, value, rank, dtype)

        if self._ranks.get(tensor) == 0:
            return tensor

        whole = self._ranks.get(tensor) == rank
        return self.last(tensor, rank, dtype) if whole else None

    def permuted(self, tensor: str, rank: int) -> str:
        """Return a row for each dimension, in channels-last order."""
        value = self.scope.value(tensor)

        if value is None:
            return self.add(self.gather(tensor, to_last(rank)), tensor)

        name = f"{node_of(tensor)}/{_SUFFIX}"
        return self.numbers(
            name, value[to_last(rank)], tensor, self.scope.dtype(tensor)
        )

    def gather(self, tensor: str, order: list[int]) -> Any:
        """Return a node, not yet added, that takes rows of `tensor` in that order."""
        name = f"{node_of(tensor)}/{_SUFFIX}"
        node = tf1.NodeDef(name=name, op="GatherV2", input=[tensor])
        node.input.append(self.numbers(f"{name}/order", order, tensor))
        node.input.append(self.numbers(f"{name}/axis", 0, tensor))
        node.attr["Tparams"].type = self.scope.dtype(tensor)
        node.attr["Tindices"].type = tf.int32.as_datatype_enum
        node.attr["Taxis"].type = tf.int32.as_datatype_enum
        return node

    def copy(self, node: Any) -> Any:
        """Return a copy of `node`, to be changed and added."""
        return copy_of(node, f"{node.name}/{_SUFFIX}")

    def replace(self, node: Any, last: Any, rank: int) -> None:
        """Let `last`, channels last, compute the outputs of `node`."""
        source = self.scope.add(last, node.input[0])
        kinds = [kind for _, _, kind in outputs(last)]
        others = [f"{node.name}:{position}" for position in range(1, len(kinds))]
        named = self.scope.roots.intersection(others)
        first = self._transpose(node.name, source, to_first(rank), kinds[0])

        # Fetched outputs keep their names, so the node stays and passes all of them on.
        if named:
            first.name = f"{node.name}/channels_first"
            image = self.scope.add(first, source)
            rest = (f"{last.name}:{each}" for each in range(1, len(kinds)))
            self._become_all(node, [image, *rest], kinds)
        else:
            for position, other in enumerate(others, 1):
                self._moved[other] = f"{last.name}:{position}"

            node.CopyFrom(first)
            self.note(f"{node.name}:0", source, rank)

    def replace_same(self, node: Any, last: Any) -> None:
        """Let `last` replace `node`, where both have the same outputs."""
        last.name = node.name
        node.CopyFrom(last)

    def finish(self) -> None:
        """Redirect readers, and drop nodes without any."""
        self.scope.redirect(self._moved)
        self.scope.drop_unused(self._spare)

    def _become_all(self, node: Any, tensors: list[str], kinds: list[int]) -> None:
        same = tf1.NodeDef(name=node.name, op="IdentityN", input=tensors)
        same.attr["T"].list.type.extend(kinds)
        node.CopyFrom(same)

    def _transpose(self, name: str, tensor: str, order: list[int], dtype: int) -> Any:
        node = tf1.NodeDef(name=name, op="Transpose", input=[tensor])
        node.input.append(self.numbers(f"{name}/order", order, tensor))
        node.attr["T"].type = dtype
        node.attr["Tperm"].type = tf.int32.as_datatype_enum
        return node

    def numbers(self, name: str, values: Any, near: str, dtype: Any = tf.int32) -> str:
        return self.add(constant_node(name, np.asarray(values), dtype), near)

    def add(self, node: Any, near: str) -> str:
        """Add a node, dropped again if nothing reads it; return its first tensor."""
        added = self.scope.add(node, near)
        self._spare.add(node.name)
        return added

    def _constant(self, tensor: str, value: Array, rank: int, dtype: int) -> str:
        if value.ndim == 0:
            return tensor

        wide = value.reshape((1,) * (rank - value.ndim) + value.shape)
        name = f"{node_of(tensor)}/{_SUFFIX}"
        return self.numbers(name, wide.transpose(to_last(rank)), tensor, dtype)

    def _rank(self, node: Any) -> int | None:
        if node.op == "Const":
            return len(node.attr["value"].tensor.tensor_shape.dim)

        if node.op == "Reshape":
            shape = self.scope.value(node.input[1])
            return None if shape is None else int(shape.size)

        count = 1 if node.op in _SAME_RANK else 2
        known = [self._ranks.get(each, -1) for each in node.input[:count]]
        return None if -1 in known else max(known)
