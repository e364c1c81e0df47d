"""SavedModel folders, TF1 and TF2, by the loader that reads all of them.

`tf.saved_model.load` fails on Keras 2 exports with optimizer slots; TF1's loader in a
session restores variables and tables of every one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from inference.backend import tf, tf1
from inference.errors import InvalidModel, InvalidSidecar
from inference.reasons import first_line
from inference.sources import graphs
from inference.sources.declared import declared_signatures, default_signature
from inference.sources.records import example_records
from inference.sources.screening import screen
from inference.sources.session import SessionReference, source_session
from inference.sources.source import Source
from inference.sources.tables import own_tables, read_tables, table_texts
from inference.sources.tensors import UNSERVABLE, dtype_name, shape_of
from inference.sources.variables import read_variables, to_resources
from inference.types import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from inference.permissions import Permissions
    from inference.sidecar import Sidecar

PB = "saved_model.pb"


@contextmanager
def open_saved_model(
    folder: Path, sidecar: Sidecar, permissions: Permissions
) -> Iterator[Source]:
    """Read the SavedModel in `folder`; raises `InvalidModel`, `InvalidSidecar`."""
    if sidecar.constants:
        raise InvalidSidecar(
            "[constants] fixes the placeholders of a frozen graph; this is a "
            "SavedModel, whose signatures say what it takes."
        )

    meta_graph = choose_meta_graph(folder)
    graphs.check_ops(meta_graph.graph_def)
    notes: list[str] = []

    with source_session() as session:
        _load(session, meta_graph, folder)
        signatures = _signatures(meta_graph, notes)
        signatures.update(declared_signatures(session.graph, sidecar, signatures))
        _check_signatures(signatures)
        yield _source(session, meta_graph, signatures, sidecar, notes)


def choose_meta_graph(folder: Path) -> Any:
    """The graph tagged `serve`, with the fewest other tags; else an untagged one."""
    meta_graphs = _parse(folder).meta_graphs

    if not meta_graphs:
        raise InvalidModel(
            f"{PB} holds no graph. The file is empty or was cut; export it again."
        )

    tagged = [graph for graph in meta_graphs if "serve" in graph.meta_info_def.tags]

    if tagged:
        return min(tagged, key=lambda graph: len(graph.meta_info_def.tags))

    untagged = [graph for graph in meta_graphs if not graph.meta_info_def.tags]

    if untagged:
        return untagged[0]

    found = "; ".join("+".join(graph.meta_info_def.tags) for graph in meta_graphs)
    raise InvalidModel(
        f"The SavedModel has no graph tagged 'serve' (found: {found}), only one for "
        "training or another device. Export it with tf.saved_model.save."
    )


def _parse(folder: Path) -> Any:
    saved_model = saved_model_pb2.SavedModel()

    try:
        saved_model.ParseFromString((folder / PB).read_bytes())
    except FileNotFoundError:
        raise InvalidModel(
            f"{folder.name} has no {PB}. A text SavedModel (saved_model.pbtxt) must be "
            "exported again with tf.saved_model.save, which writes the binary form."
        ) from None
    except DecodeError as exc:
        raise InvalidModel(
            f"{PB} can't be parsed as a SavedModel: it is damaged, cut, or another "
            "kind of file. Export it again with tf.saved_model.save."
        ) from exc

    return saved_model


def _load(session: Any, meta_graph: Any, folder: Path) -> None:
    try:
        with session.graph.as_default():
            tf1.saved_model.load(
                session, list(meta_graph.meta_info_def.tags), str(folder)
            )
    except (tf.errors.OpError, OSError, ValueError, KeyError) as exc:
        raise InvalidModel(
            "The SavedModel can't be restored; its variables/ or assets/ are missing, "
            f"damaged or of another model: {_said(exc, folder)}"
        ) from exc


def _said(error: Exception, folder: Path) -> str:
    """The reason, which clients see too, without where the server keeps its files."""
    return first_line(error).replace(str(folder), folder.name)


def _signatures(meta_graph: Any, notes: list[str]) -> dict[str, Signature]:
    signatures = {}

    for name, definition in sorted(meta_graph.signature_def.items()):
        if name.startswith("__saved_model"):
            continue

        reason = _unservable(definition)

        if reason:
            notes.append(f"Signature '{name}' is left out: {reason}.")
            continue

        signatures[name] = Signature(
            name=name,
            inputs=_specs(definition.inputs, definition.defaults),
            outputs=_specs(definition.outputs, {}),
        )

    return signatures


def _unservable(definition: Any) -> str:
    infos = [*definition.inputs.values(), *definition.outputs.values()]

    if not definition.outputs:
        return "it has no outputs"

    if any(info.WhichOneof("encoding") != "name" for info in infos):
        return "it has sparse or composite tensors"

    if any(tf.dtypes.as_dtype(info.dtype).name in UNSERVABLE for info in infos):
        return "it takes or gives resources, not values"

    return ""


def _specs(infos: Any, defaults: Any) -> dict[str, TensorSpec]:
    return {
        alias: TensorSpec(
            name=alias,
            tensor=info.name,
            dtype=dtype_name(tf.dtypes.as_dtype(info.dtype)),
            shape=shape_of(tf.TensorShape(info.tensor_shape)),
            default=tf.make_ndarray(defaults[alias]) if alias in defaults else None,
        )
        for alias, info in sorted(infos.items())
    }


def _check_signatures(signatures: Mapping[str, Signature]) -> None:
    if signatures:
        return

    raise InvalidModel(
        "The SavedModel has no signature that can be served. Export it with one: "
        "tf.saved_model.save(module, path, signatures=module.my_function), or name "
        "inputs and outputs in model.toml."
    )


def _source(
    session: Any,
    meta_graph: Any,
    signatures: dict[str, Signature],
    sidecar: Sidecar,
    notes: list[str],
) -> Source:
    source = Source(
        format="SavedModel",
        writer=f"TensorFlow {meta_graph.meta_info_def.tensorflow_version or 'unknown'}",
        graph_def=session.graph.as_graph_def(),
        signatures=signatures,
        default_signature=default_signature(signatures, sidecar),
        reference=SessionReference(session),
        notes=notes,
    )
    source.graph_def = graphs.prune(source.graph_def, source.tensors())
    source.tables = read_tables(source.graph_def, session)
    source.texts = [*example_records(source.graph_def), *table_texts(source.tables)]
    source.variables = to_resources(
        source.graph_def, read_variables(source.graph_def, session)
    )
    own_tables(source.graph_def)
    screen(source.graph_def)
    return source
