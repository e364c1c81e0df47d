"""Generated `tf.train.Example` records that a graph can parse.

Estimator exports take nothing else, and no random string has the keys that they look
for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.formats.graph.graphdef import node_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_VALUES = {"float32": (0.5, -1.5), "int64": (0, 1), "string": (b"a", b"b")}


def example_records(graph_def: Any) -> list[tuple[bytes, ...]]:
    """Return two different records for each parsing operation of `graph_def`."""
    scopes = [graph_def.node, *(each.node_def for each in graph_def.library.function)]
    features = [each for scope in scopes for each in _dense_features(scope)]
    return [tuple(_record(each, variant) for variant in (0, 1)) for each in features]


def _dense_features(nodes: Iterable[Any]) -> Iterator[dict[bytes, tuple[str, int]]]:
    """Yield, for each parsing operation, dtype and number of values by key."""
    by_name = {node.name: node for node in nodes}

    for node in by_name.values():
        if node.op not in ("ParseExample", "ParseExampleV2"):
            continue

        keys = list(_dense_keys(node, by_name))
        dtypes = [
            tf.dtypes.as_dtype(each).name for each in node.attr["Tdense"].list.type
        ]
        sizes = [
            tf.TensorShape(each).num_elements() or 1
            for each in node.attr["dense_shapes"].list.shape
        ]
        yield dict(zip(keys, zip(dtypes, sizes, strict=True), strict=True))


def _dense_keys(node: Any, by_name: dict[str, Any]) -> Iterator[bytes]:
    """Yield the keys in the node's constants: one for all (V2), or one for each."""
    if node.op == "ParseExampleV2":
        positions = range(3, 4)
    else:
        sparse, dense = node.attr["Nsparse"].i, node.attr["Ndense"].i
        positions = range(2 + sparse, 2 + sparse + dense)

    for position in positions:
        constant = by_name.get(node_of(node.input[position]))

        if constant is not None and constant.op == "Const":
            yield from tf.make_ndarray(constant.attr["value"].tensor).reshape(-1)


def _record(features: dict[bytes, tuple[str, int]], variant: int) -> bytes:
    example = tf.train.Example()

    for key, (dtype, size) in features.items():
        feature = example.features.feature[key.decode("utf-8", "replace")]
        values = [_VALUES[dtype][variant]] * size
        kind = {"float32": "float_list", "int64": "int64_list", "string": "bytes_list"}
        getattr(feature, kind[dtype]).value.extend(values)

    serialized: bytes = example.SerializeToString()
    return serialized
