"""The readers of a graph's input, directly or after it was only rearranged."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inference.formats.graph.graphdef import BRANCHES, callees, node_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FRAMES = 5000
MAX_DEPTH = 32
MAX_STEPS = 200_000
_PASSING = frozenset(
    "Add AddV2 All Any Bitcast BroadcastTo Cast CheckNumerics ConcatV2 DecodeBase64 "
    "EnsureShape Enter Exit ExpandDims Identity IdentityN Max Maximum Merge Min "
    "Minimum NextIteration Pack PadV2 Pad ParallelConcat PlaceholderWithDefault "
    "PreventGradient Reshape ReverseV2 Select SelectV2 Slice Snapshot Split SplitV "
    "Squeeze StopGradient StridedSlice StringStrip Sub Substr Switch "
    "TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArrayWriteV3 "
    "TensorListFromTensor TensorListGather TensorListGetItem TensorListSetItem "
    "TensorListStack Tile Transpose Unique UniqueV2 Unpack".split()
)
"""Operations whose outputs have values in the range of their inputs'."""

_FORWARDING = frozenset(
    "Cast Enter Identity ReadVariableOp Snapshot StopGradient Switch".split()
)


@dataclass(eq=False, slots=True, kw_only=True)
class Frame:
    """A graph, or a function's body as one node calls it, from `caller`."""

    nodes: dict[str, Any]
    body: Any = None
    caller: tuple[Frame, Any] | None = None
    depth: int = 0
    inner: dict[tuple[str, str], Frame] = field(default_factory=dict)
    readers: dict[str, list[tuple[Any, int, int | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def __post_init__(self) -> None:
        for node in self.nodes.values():
            for position, tensor in enumerate(node.input):
                if not tensor.startswith("^"):
                    entry = (node, position, _index(tensor))
                    self.readers[node_of(tensor)].append(entry)


@dataclass(frozen=True, slots=True)
class Use:
    """A node that reads the value, at this `position` of its inputs."""

    frame: Frame
    node: Any
    position: int

    def constant(self, position: int) -> Any:
        """Return the node that another input comes from; `None` if unknown."""
        step: tuple[Frame, str] | None = _input(self.frame, self.node, position)

        for _ in range(MAX_FRAMES):
            if step is None:
                break

            frame, tensor = step
            node = frame.nodes.get(node_of(tensor))

            if node is not None and node.op not in _FORWARDING:
                return node

            step = _input(frame, node, 0) if node else _argument_source(frame, tensor)

        return None


class Dataflow:
    """The graph with its functions, one frame for each call."""

    def __init__(self, graph_def: Any) -> None:
        self._bodies = {
            each.signature.name: each for each in graph_def.library.function
        }
        self._root = Frame(nodes={node.name: node for node in graph_def.node})
        self._frames = 1

    def uses(self, tensor: str) -> Iterator[Use]:
        """Yield all reads of `tensor`, one of the graph's own."""
        waiting: list[tuple[Frame, str, int | None]]
        waiting = [(self._root, node_of(tensor), _index(tensor))]
        seen = set(waiting)

        # A graph can be crafted to have more paths than could be followed.
        while waiting and len(seen) < MAX_STEPS:
            frame, name, index = waiting.pop()
            found = list(_leaving(frame, name))

            for node, position, wanted in frame.readers.get(name, ()):
                if None in (index, wanted) or index == wanted:
                    yield Use(frame, node, position)
                    found += self._propagated(frame, node, position)

            waiting += [each for each in found if each not in seen]
            seen.update(found)

    def _propagated(
        self, frame: Frame, node: Any, position: int
    ) -> Iterator[tuple[Frame, str, int | None]]:
        if node.op in _PASSING:
            yield frame, node.name, None

        for name in callees(node):
            inner = self._enter(frame, node, name)
            argument = position - (node.op in BRANCHES)

            if inner is None or argument < 0:
                continue

            arguments = inner.body.signature.input_arg

            if argument < len(arguments):
                yield inner, arguments[argument].name, None

    def _enter(self, frame: Frame, node: Any, name: str) -> Frame | None:
        body = self._bodies.get(name)
        key = (node.name, name)

        if body is None or key in frame.inner:
            return frame.inner.get(key)

        # A function that calls itself would never end.
        if self._frames == MAX_FRAMES or frame.depth == MAX_DEPTH:
            return None

        self._frames += 1
        nodes = {each.name: each for each in body.node_def}
        frame.inner[key] = Frame(
            nodes=nodes, body=body, caller=(frame, node), depth=frame.depth + 1
        )
        return frame.inner[key]


def _leaving(frame: Frame, name: str) -> Iterator[tuple[Frame, str, int | None]]:
    if frame.caller is None:
        return

    outer, node = frame.caller

    for position, result in enumerate(frame.body.signature.output_arg):
        if node_of(frame.body.ret.get(result.name, "")) == name:
            yield outer, node.name, position


def _argument_source(frame: Frame, tensor: str) -> tuple[Frame, str] | None:
    """Return the caller's frame and tensor for an argument."""
    if frame.caller is None:
        return None

    outer, node = frame.caller
    names = [argument.name for argument in frame.body.signature.input_arg]

    if node_of(tensor) not in names:
        return None

    return _input(outer, node, names.index(node_of(tensor)) + (node.op in BRANCHES))


def _input(frame: Frame, node: Any, position: int) -> tuple[Frame, str] | None:
    """Return an input of `node`; `None` if a damaged node lacks it."""
    return (frame, node.input[position]) if position < len(node.input) else None


def _index(tensor: str) -> int | None:
    """Return the position of an output; `None` for a function's argument."""
    last = tensor.rpartition(":")[2]
    return int(last) if last != tensor and last.isdecimal() else None
