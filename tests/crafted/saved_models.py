"""SavedModels that would do harm when they are served, restored or started."""

from __future__ import annotations

from typing import Any

from inference.backend import tf
from tests.crafted.case import Crafted
from tests.crafted.graph_files import UNSAFE
from tests.crafted.saved_files import (
    body,
    edited,
    modern,
    node,
    text,
    write_node,
)

WRITES = f"WriteFile, {UNSAFE}"
MAIN_OP = "saved_model_main_op"


def behind_the_output(meta_graph: Any, canary: str) -> None:
    name = write_node(meta_graph.graph_def.node, canary)
    node(meta_graph, "y").input.append(f"^{name}")


def in_another_signature(meta_graph: Any, canary: str) -> None:
    name = write_node(meta_graph.graph_def.node, canary)
    other = meta_graph.graph_def.node.add(name="other", op="Identity")
    other.input.extend(["x", f"^{name}"])
    other.attr["T"].type = tf.float32.as_datatype_enum
    signatures = meta_graph.signature_def
    signatures["other"].CopyFrom(signatures["serving_default"])
    signatures["other"].outputs["y"].name = "other:0"


def main_op(meta_graph: Any, canary: str) -> None:
    name = write_node(meta_graph.graph_def.node, canary)
    started = meta_graph.collection_def[MAIN_OP].node_list.value[0]
    node(meta_graph, started).input.append(f"^{name}")


def legacy_op(meta_graph: Any, canary: str) -> None:
    name = write_node(meta_graph.graph_def.node, canary)
    del meta_graph.collection_def[MAIN_OP]
    meta_graph.collection_def["legacy_init_op"].node_list.value.append(name)


def init_signature(meta_graph: Any, canary: str) -> None:
    name = write_node(meta_graph.graph_def.node, canary)
    key = "__saved_model_init_op"
    meta_graph.signature_def[key].outputs[key].name = name


def two_main_ops(meta_graph: Any, canary: str) -> None:
    name = write_node(meta_graph.graph_def.node, canary)
    meta_graph.collection_def[MAIN_OP].node_list.value.append(name)


def behind_restoring(meta_graph: Any, canary: str) -> None:
    name = write_node(meta_graph.graph_def.node, canary)
    restore = meta_graph.saver_def.restore_op_name
    node(meta_graph, restore).input.append(f"^{name}")


def instead_of_restoring(meta_graph: Any, canary: str) -> None:
    name = write_node(meta_graph.graph_def.node, canary)
    meta_graph.saver_def.restore_op_name = name


def saving_as_restoring(meta_graph: Any, canary: str) -> None:
    """Restore by the saver's own nodes, which write."""
    saver = meta_graph.saver_def
    saver.restore_op_name = saver.save_tensor_name.partition(":")[0]
    saver.filename_tensor_name = ""


def behind_the_filename(meta_graph: Any, canary: str) -> None:
    name = write_node(meta_graph.graph_def.node, canary)
    filename = meta_graph.saver_def.filename_tensor_name.partition(":")[0]
    node(meta_graph, filename).input.append(f"^{name}")


def restoring_to_serve(meta_graph: Any, canary: str) -> None:
    """Serve another model's weights as an output."""
    nodes = meta_graph.graph_def.node
    text(nodes, "theirs", "/models/other/variables/variables")
    restore = next(each for each in nodes if each.op == "RestoreV2")
    stolen = nodes.add()
    stolen.CopyFrom(restore)
    stolen.name, stolen.input[0] = "stolen", "theirs"
    node(meta_graph, "y").input.append("^stolen")


def in_the_initializer(meta_graph: Any, canary: str) -> None:
    function = body(meta_graph, "initializer")
    name = write_node(function.node_def, canary, inside=True)
    function.control_ret[name] = name
    function.signature.control_output.append(name)


def in_the_restorer(meta_graph: Any, canary: str) -> None:
    function = body(meta_graph, "traced_restore")
    name = write_node(function.node_def, canary, inside=True)
    function.control_ret[name] = name
    function.signature.control_output.append(name)


def another_file(meta_graph: Any, canary: str) -> None:
    """Fill the table from any file, whose lines a client could then request."""
    function = body(meta_graph, "initializer")
    text(function.node_def, "theirs", "/etc/passwd")
    fill = next(n for n in function.node_def if n.op.startswith("InitializeTable"))
    fill.input[1] = "theirs:output:0"


def asset_above(meta_graph: Any, canary: str) -> None:
    meta_graph.asset_file_def[0].filename = "../../../../etc/passwd"


def asset_anywhere(meta_graph: Any, canary: str) -> None:
    meta_graph.asset_file_def[0].filename = "/etc/passwd"


def splat(meta_graph: Any, canary: str) -> None:
    gain = meta_graph.graph_def.node.add(name="huge", op="Const")
    gain.attr["dtype"].type = tf.float32.as_datatype_enum
    swell(gain.attr["value"].tensor)
    node(meta_graph, "y").input.append("^huge")


def default(meta_graph: Any, canary: str) -> None:
    """Hide it in a signature's default, outside the graph."""
    swell(meta_graph.signature_def["serving_default"].defaults["x"])


def swell(tensor: Any) -> None:
    tensor.dtype = tf.float32.as_datatype_enum
    tensor.float_val.append(1.0)
    tensor.tensor_shape.dim.add(size=800_000_000)


CASES: list[Crafted] = [
    Crafted(name="saved_output", make=edited(behind_the_output), reason=WRITES),
    Crafted(name="saved_signature", make=edited(in_another_signature), reason=WRITES),
    Crafted(name="saved_main_op", make=edited(main_op), reason=WRITES),
    Crafted(name="saved_legacy_op", make=edited(legacy_op), reason=WRITES),
    Crafted(name="saved_init", make=edited(init_signature), reason=WRITES),
    Crafted(
        name="saved_two_main_ops",
        make=edited(two_main_ops),
        reason="names 2 startup operations",
    ),
    Crafted(name="saved_restoring", make=edited(behind_restoring), reason=WRITES),
    Crafted(
        name="saved_no_restoring", make=edited(instead_of_restoring), reason=WRITES
    ),
    Crafted(
        name="saved_saving",
        make=edited(saving_as_restoring),
        reason=f"{UNSAFE}.*SaveV2|SaveV2.*{UNSAFE}",
    ),
    Crafted(name="saved_filename", make=edited(behind_the_filename), reason=WRITES),
    Crafted(
        name="saved_serves_a_checkpoint",
        make=edited(restoring_to_serve),
        reason=f"RestoreV2, {UNSAFE}",
    ),
    Crafted(
        name="saved_initializer",
        make=edited(in_the_initializer, modern),
        reason=f"initializer.*{WRITES}",
    ),
    Crafted(
        name="saved_restorer",
        make=edited(in_the_restorer, modern),
        reason=f"traced_restore.*{WRITES}",
    ),
    Crafted(
        name="saved_other_file",
        make=edited(another_file, modern),
        reason="not one of the model's assets",
    ),
    Crafted(
        name="saved_asset_above",
        make=edited(asset_above, modern),
        reason="an asset outside its folder",
    ),
    Crafted(
        name="saved_asset_anywhere",
        make=edited(asset_anywhere, modern),
        reason="an asset outside its folder",
    ),
    Crafted(name="saved_splat", make=edited(splat), reason="declares constants of"),
    Crafted(
        name="saved_default", make=edited(default), reason="declares far more bytes"
    ),
]
