"""Frozen graphs with harmful values, and files that aren't whole graphs.

The values are attributes that name places, and inflated constants.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from tests.crafted.case import Crafted
from tests.crafted.graph_files import built, edited, node, plain, written
from tests.crafted.graph_hiding import call, calls
from tests.support.graphs import rows

if TYPE_CHECKING:
    from pathlib import Path

FLOAT = tf.float32.as_datatype_enum
HUGE = 800_000_000


def decodes_by_a_file(canary: str) -> None:
    decoded = tf.raw_ops.DecodeProtoV2(
        bytes=rows("x", dtype="string"),
        message_type="a.B",
        field_names=["c"],
        output_types=[tf.float32],
        descriptor_source=canary,
    )
    tf.identity(decoded.sizes, name="y")


def encodes_by_a_file(canary: str) -> None:
    encoded = tf.raw_ops.EncodeProto(
        sizes=tf.ones([1, 1], tf.int32),
        values=[rows("x", 1)],
        field_names=["c"],
        message_type="a.B",
        descriptor_source=canary,
    )
    tf.identity(encoded, name="y")


def given_by_the_caller(graph_def: Any, canary: str) -> None:
    """Put the place into the call, and its name into the function."""
    body = next(iter(graph_def.library.function))
    body.node_def[0].attr["filename"].placeholder = "place"
    call(graph_def).attr["f"].func.attr["place"].s = canary.encode()


def as_if_local(graph_def: Any, canary: str) -> None:
    """Put the caller's place under the name of an attribute that needs no file."""
    body = next(iter(graph_def.library.function))
    body.node_def[0].attr["descriptor_source"].placeholder = "local://"
    call(graph_def).attr["f"].func.attr["local://"].s = canary.encode()


def without_a_name(graph_def: Any, canary: str) -> None:
    body = next(iter(graph_def.library.function))
    body.node_def[0].attr["vocab_file"].placeholder = ""
    call(graph_def).attr["f"].func.attr[""].s = canary.encode()


def huge_default(canary: str) -> None:
    """Compute a default that would be millions of numbers in JSON."""
    size = tf1.placeholder_with_default(tf.fill([1_000_000], 1.0), [None], name="size")
    tf.add(rows("x", 1), tf.reduce_sum(size), name="y")


def splat(tensor: Any, *sizes: int) -> None:
    """Store one value for all elements."""
    tensor.Clear()
    tensor.dtype = FLOAT
    tensor.float_val.append(1.0)

    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)


def constant(graph_def: Any, name: str, *sizes: int) -> None:
    added = graph_def.node.add(name=name, op="Const")
    added.attr["dtype"].type = FLOAT
    splat(added.attr["value"].tensor, *sizes)
    node(graph_def, "y").input.append(f"^{name}")


def splat_alone(folder: Path, canary: Path) -> Path:
    """Build the smallest case: an input, a constant of gigabytes, and their sum."""
    graph_def = tf1.GraphDef()
    graph_def.node.add(name="x", op="Placeholder").attr["dtype"].type = FLOAT
    value = graph_def.node.add(name="c", op="Const")
    value.attr["dtype"].type = FLOAT
    splat(value.attr["value"].tensor, HUGE)
    added = graph_def.node.add(name="y", op="AddV2", input=["x", "c"])
    added.attr["T"].type = FLOAT
    (folder / "model.pb").write_bytes(graph_def.SerializeToString())
    return folder / "model.pb"


def many(graph_def: Any, canary: str) -> None:
    """Store constants each below the limit, and together far above it."""
    for position in range(200):
        constant(graph_def, f"part{position}", 15 * 2**20)


def overflowing(graph_def: Any, canary: str) -> None:
    """Declare a size that is 0 in 64 bits: 2^62 times 4 times 4 bytes."""
    constant(graph_def, "huge", 2**62, 4)


def negative(graph_def: Any, canary: str) -> None:
    constant(graph_def, "huge", -1, 4)


def in_the_body(graph_def: Any, canary: str) -> None:
    body = next(iter(graph_def.library.function))
    added = body.node_def.add(name="huge", op="Const")
    added.attr["dtype"].type = FLOAT
    splat(added.attr["value"].tensor, HUGE)


def from_the_caller(graph_def: Any, canary: str) -> None:
    splat(call(graph_def).attr["f"].func.attr["value"].tensor, HUGE)


def strings(graph_def: Any, canary: str) -> None:
    constant(graph_def, "huge", 10**9)
    tensor = node(graph_def, "huge").attr["value"].tensor
    tensor.dtype = tf.string.as_datatype_enum
    del tensor.float_val[:]
    tensor.string_val.append(b"")


def handle(graph_def: Any, canary: str) -> None:
    """Store a constant that claims to be another model's variable."""
    constant(graph_def, "stolen")
    tensor = node(graph_def, "stolen").attr["value"].tensor
    tensor.dtype = tf.resource.as_datatype_enum
    tensor.resource_handle_val.add(name="kernel", container="localhost")


def program(graph_def: Any, canary: str) -> None:
    """Store a variant, which can hold a whole dataset."""
    constant(graph_def, "packed")
    tensor = node(graph_def, "packed").attr["value"].tensor
    tensor.dtype = tf.variant.as_datatype_enum
    tensor.variant_val.add(type_name="tensorflow::WrappedDatasetVariant")


def far_output(graph_def: Any, canary: str) -> None:
    node(graph_def, "y").input[0] = "x:99999999999"


def unknown_dtype(graph_def: Any, canary: str) -> None:
    constant(graph_def, "odd")
    node(graph_def, "odd").attr["value"].tensor.dtype = 9999


def cut(folder: Path, canary: Path) -> Path:
    path = built(lambda _: plain())(folder, canary)
    path.write_bytes(path.read_bytes()[:-7])
    return path


def text(folder: Path, canary: Path) -> Path:
    """Write a graph as text, which TensorFlow could parse too."""
    with tf.Graph().as_default() as graph:
        plain()

    (folder / "model.pb").write_text(str(graph.as_graph_def()))
    return folder / "model.pb"


def oversized(folder: Path, canary: Path) -> Path:
    """Write a file larger than a protobuf can be, without content on disk."""
    path = cut(folder, canary)
    os.truncate(path, 2**31)
    return path


def dangling(graph_def: Any, canary: str) -> None:
    node(graph_def, "y").input[0] = "gone"


SWELLS = "declares constants of .* MiB for .* bytes that the file stores"

CASES: list[Crafted] = [
    Crafted(
        name="decode_proto",
        make=built(decodes_by_a_file),
        reason="names a place outside the model in its attribute descriptor_source",
    ),
    Crafted(
        name="encode_proto",
        make=built(encodes_by_a_file),
        reason="names a place outside the model in its attribute descriptor_source",
    ),
    Crafted(
        name="place_from_caller",
        make=edited(calls, given_by_the_caller),
        reason="names a place outside the model in its attribute filename",
    ),
    Crafted(
        name="place_as_if_local",
        make=edited(calls, as_if_local),
        reason="attribute descriptor_source: '.local://'",
    ),
    Crafted(
        name="place_without_a_name",
        make=edited(calls, without_a_name),
        reason="attribute vocab_file: '.'",
    ),
    Crafted(
        name="huge_default",
        make=built(huge_default),
        reason="The default of the input 'size' has 4,000,000 bytes",
    ),
    Crafted(name="splat_alone", make=splat_alone, reason=SWELLS),
    Crafted(name="splats", make=edited(plain, many), reason=SWELLS),
    Crafted(name="splat_overflowing", make=edited(plain, overflowing), reason=SWELLS),
    Crafted(
        name="splat_negative", make=edited(plain, negative), reason="without a shape"
    ),
    Crafted(name="splat_in_function", make=edited(calls, in_the_body), reason=SWELLS),
    Crafted(
        name="splat_from_caller", make=edited(calls, from_the_caller), reason=SWELLS
    ),
    Crafted(name="splat_of_strings", make=edited(plain, strings), reason=SWELLS),
    Crafted(
        name="constant_handle",
        make=edited(plain, handle),
        reason="holds a handle or a variant",
    ),
    Crafted(
        name="constant_program",
        make=edited(plain, program),
        reason="holds a handle or a variant",
    ),
    Crafted(
        name="unknown_dtype", make=edited(plain, unknown_dtype), reason="dtype 9999"
    ),
    Crafted(
        name="far_output", make=edited(plain, far_output), reason="isn't an output of"
    ),
    Crafted(name="dangling_input", make=edited(plain, dangling), reason="is truncated"),
    Crafted(name="cut_graph", make=cut, reason="neither HDF5.* nor a TensorFlow graph"),
    Crafted(name="empty_graph", make=written(b""), reason="is empty"),
    Crafted(name="graph_as_text", make=text, reason="it is text"),
    Crafted(name="oversized_graph", make=oversized, reason="no graph file can have"),
]
