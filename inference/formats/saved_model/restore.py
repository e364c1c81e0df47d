"""Restoring of a SavedModel's variables and tables, from its own files only.

TensorFlow's loader would run all of the graph's operations for this, with any files
that they name. Here the operations that read files are given the model's own files
instead, so that nothing else can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tensorflow.core.protobuf import meta_graph_pb2

from inference.errors import InvalidModel
from inference.formats.graph.graphdef import located_nodes, node_of, tensor_of
from inference.formats.graph.nodes import constant_node
from inference.formats.saved_model.assets import AssetFiles
from inference.formats.saved_model.object_graph import restore_bound

if TYPE_CHECKING:
    from pathlib import Path

RESTORES = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
FILLS = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
_INIT = "__saved_model_init_op"
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
_ASSETS = "saved_model_assets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """The operations that run before a SavedModel can serve: node names, `""` for none.

    `prefix` is the path of its variables, `objects` its object graph; `assets` are the
    files that its tables are filled from, by the tensor that is fed with the file's
    name.
    """

    restore: str
    filename: str
    init: str
    prefix: Path
    objects: Any
    assets: dict[str, str]

    def roots(self) -> list[str]:
        return [each for each in (self.restore, self.filename, self.init) if each] + [
            *self.assets
        ]


def read_startup(meta_graph: Any, folder: Path) -> Startup:
    """Return the startup of `meta_graph`. Raise `InvalidModel` for an outside asset."""
    saver = meta_graph.saver_def
    return Startup(
        restore=saver.restore_op_name,
        filename=saver.filename_tensor_name,
        init=_init_op(meta_graph),
        prefix=folder / "variables" / "variables",
        objects=meta_graph.object_graph_def,
        assets=dict(_asset(each, folder) for each in _asset_protos(meta_graph)),
    )


def redirect_file_reads(graph_def: Any, startup: Startup, *, file: str) -> None:
    """Let operations that read files read the model's own, in place.

    Raise `InvalidModel` for a table that is to be filled from another file.
    """
    bodies = {each.signature.name: each for each in graph_def.library.function}
    assets = AssetFiles(graph_def, startup.assets)

    for function, node in list(located_nodes(graph_def)):
        if node.op in RESTORES and node.input:
            _read(graph_def, bodies.get(function), node, 0, str(startup.prefix))
        elif node.op in FILLS:
            path = assets.file_of(node.input[1], function) if node.input[1:] else None

            if path is None:
                raise InvalidModel(
                    f"{file}: node '{node.name}' ({node.op}) fills a table from a file "
                    "that is not one of the model's assets. Export the model again "
                    "with tf.saved_model.save, which copies the file into assets/."
                )

            _read(graph_def, bodies.get(function), node, 1, path)


def run_startup(session: Any, graph_def: Any, startup: Startup) -> None:
    """Restore variables and fill tables in `session`, whose graph is `graph_def`.

    Raise TensorFlow's errors, `LookupError` or `ValueError`.
    """
    if startup.restore:
        operation = session.graph.get_operation_by_name(node_of(startup.restore))
        session.run(operation, _fed(startup.filename, str(startup.prefix)))
        restore_bound(session, graph_def, startup.objects, startup.prefix)

    if startup.init:
        operation = session.graph.get_operation_by_name(node_of(startup.init))
        session.run(operation, startup.assets)


def _fed(tensor: str, value: str) -> dict[str, str]:
    return {tensor_of(tensor): value} if tensor else {}


def _read(graph_def: Any, function: Any, node: Any, position: int, path: str) -> None:
    """Give `node` the constant `path` as its input, in its own function."""
    name = f"{node.name}/file_of_the_model"
    body = function.node_def if function is not None else graph_def.node
    body.append(constant_node(name, path))
    node.input[position] = f"{name}:output:0" if function is not None else name


def _init_op(meta_graph: Any) -> str:
    signature = meta_graph.signature_def

    # TensorFlow 2 names the operation in a signature, TensorFlow 1 in a collection.
    if _INIT in signature and _INIT in signature[_INIT].outputs:
        return str(signature[_INIT].outputs[_INIT].name)

    for key in _INIT_COLLECTIONS:
        if key not in meta_graph.collection_def:
            continue

        names = meta_graph.collection_def[key].node_list.value

        if len(names) != 1:
            raise InvalidModel(
                f"The SavedModel names {len(names)} startup operations ({key}), but "
                "there can be only one. Export it again."
            )

        return str(names[0])

    return ""


def _asset_protos(meta_graph: Any) -> list[Any]:
    if meta_graph.asset_file_def or _ASSETS not in meta_graph.collection_def:
        return list(meta_graph.asset_file_def)

    protos = []

    for packed in meta_graph.collection_def[_ASSETS].any_list.value:
        proto = meta_graph_pb2.AssetFileDef()
        packed.Unpack(proto)
        protos.append(proto)

    return protos


def _asset(proto: Any, folder: Path) -> tuple[str, str]:
    name = PurePosixPath(proto.filename)

    if not proto.filename or name.is_absolute() or ".." in name.parts:
        raise InvalidModel(
            f"The SavedModel names an asset outside its folder: {proto.filename!r}. "
            "Export it again with tf.saved_model.save, which copies files into assets/."
        )

    return tensor_of(proto.tensor_info.name), str(folder / "assets" / name)
