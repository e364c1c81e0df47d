"""SavedModel folders, TF1 and TF2, restored in a session as TF1's loader does.

`tf.saved_model.load` fails on Keras 2 exports with optimizer slots, and runs the
graph's restore operations before they could be screened.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from inference.backend import tf
from inference.errors import InvalidModel, InvalidSidecar, first_line
from inference.formats.graph.example_records import example_records
from inference.formats.graph.file import read_message
from inference.formats.graph.graphdef import (
    check_complete,
    node_of,
    nodes_by_name,
    prune,
)
from inference.formats.graph.importing import drop_unknown, import_graph
from inference.formats.graph.nodes import PIPELINE, cut_pipelines
from inference.formats.graph.session import SessionReference, source_session
from inference.formats.graph.sidecar_signatures import (
    declared_signatures,
    default_signature,
    named_tensors,
)
from inference.formats.graph.source import Source, tensors_of
from inference.formats.graph.tables import read_tables, rename_tables, table_texts
from inference.formats.graph.variables import (
    check_no_reference_writes,
    read_variables,
    to_resources,
)
from inference.formats.kernels.adapting import adapt
from inference.formats.saved_model.folder import PB, check_folder
from inference.formats.saved_model.functions import (
    add_function_signatures,
    list_functions,
)
from inference.formats.saved_model.restore import (
    FILLS,
    RESTORES,
    read_startup,
    redirect_file_reads,
    run_startup,
)
from inference.formats.saved_model.signature_defs import SignatureDefs, read_signatures
from inference.formats.screening.graph import clear_placement, screen
from inference.formats.screening.memory_bounds import (
    check_budget,
    check_constants,
    checkpoint_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.formats.saved_model.restore import Startup
    from inference.permissions import Permissions
    from inference.repository.sidecar import Sidecar


_MAX_NAMED = 10


@contextmanager
def open_saved_model(
    folder: Path, sidecar: Sidecar, permissions: Permissions
) -> Iterator[Source]:
    """Read the SavedModel in `folder`. Raise `InvalidModel` or `InvalidSidecar`."""
    if sidecar.constants:
        raise InvalidSidecar(
            "[constants] fixes the placeholders of a frozen graph; this is a "
            "SavedModel, whose signatures say what it takes."
        )

    check_folder(folder, permissions.follow_links_to)
    meta_graph = choose_meta_graph(folder)
    file = f"{folder.name}/{PB}"
    declared = _declared(meta_graph, sidecar, file=file)
    signatures = declared.signatures
    startup = read_startup(meta_graph, folder)
    served = named_tensors(sidecar, nodes_by_name(meta_graph.graph_def))
    served += tensors_of(signatures)
    screened = _screened(meta_graph, served, startup, permissions, file=file)
    writers = meta_graph.meta_info_def.stripped_op_list.op
    declared.notes.extend(drop_unknown(screened, writers))
    declared.notes.extend(adapt(screened, [*served, *startup.roots()]))

    with source_session() as session:
        _start(session, screened, startup, permissions, folder)
        signatures.update(declared_signatures(session.graph, sidecar, signatures))
        _check_signatures(declared, meta_graph)
        yield _source(session, meta_graph, declared, sidecar)


def choose_meta_graph(folder: Path) -> Any:
    """Return the graph tagged `serve` and the least else, or an untagged one."""
    meta_graphs = _parse(folder).meta_graphs

    if not meta_graphs:
        raise InvalidModel(
            f"{PB} has no graph. The file is empty or truncated; export it again."
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
        saved_model.ParseFromString(read_message(folder / PB, what=PB))
    except DecodeError as exc:
        raise InvalidModel(
            f"{PB} can't be parsed as a SavedModel: it is damaged, truncated or "
            "another kind of file. Export it again with tf.saved_model.save."
        ) from exc

    return saved_model


def _screened(
    meta_graph: Any,
    served: list[str],
    startup: Startup,
    permissions: Permissions,
    *,
    file: str,
) -> Any:
    """Return a copy of the graph with only the parts that are run, screened.

    Operations that restore variables and fill tables may read files, but only the
    model's own.
    """
    graph_def = prune(meta_graph.graph_def, [*served, *startup.roots()])
    check_complete(graph_def)
    cut_pipelines(graph_def, {node_of(tensor) for tensor in served})
    redirect_file_reads(graph_def, startup, file=file)
    parts = (
        (served, PIPELINE),
        ([startup.restore, startup.filename], RESTORES),
        ([startup.init, *startup.assets], FILLS),
    )

    for roots, also in parts:
        part = prune(graph_def, roots)
        screen(part, permissions, file=file, also=also)

    graph_def = prune(graph_def, [*served, *startup.roots()])
    clear_placement(graph_def)
    return graph_def


def _start(
    session: Any,
    graph_def: Any,
    startup: Startup,
    permissions: Permissions,
    folder: Path,
) -> None:
    try:
        declared = check_constants(graph_def, file=folder.name)
        declared += checkpoint_bytes(startup.prefix) if startup.restore else 0
        check_budget(declared, permissions, file=folder.name)

        import_graph(session.graph, graph_def)
        run_startup(session, graph_def, startup)
    except (tf.errors.OpError, OSError, ValueError, LookupError, RuntimeError) as exc:
        raise InvalidModel(
            "The SavedModel can't be restored; its variables/ or assets/ are missing, "
            f"damaged or of another model: {_error_text(exc, folder)}"
        ) from exc


def _error_text(error: Exception, folder: Path) -> str:
    """Return the reason without the server's paths, since clients see it too."""
    return first_line(error).replace(str(folder), folder.name)


def _declared(meta_graph: Any, sidecar: Sidecar, *, file: str) -> SignatureDefs:
    """Return the signatures; without any, those of functions the sidecar wants."""
    declared = read_signatures(meta_graph, file=file)
    wanted = sidecar.default_signature in list_functions(meta_graph)

    if declared.signatures or declared.left_out or not wanted:
        return declared

    left_out = add_function_signatures(meta_graph)
    functions = read_signatures(meta_graph, file=file)
    functions.left_out.update(left_out)
    return functions


def _check_signatures(declared: SignatureDefs, meta_graph: Any) -> None:
    if declared.signatures:
        return

    functions = ", ".join(list_functions(meta_graph)[:_MAX_NAMED])
    bare = functions and (
        f"It has functions ({functions}): name the one that is meant in model.toml, as "
        "default_signature, to serve them. "
    )
    raise InvalidModel(
        f"The SavedModel has no signature that can be served. {_reasons(declared)}"
        f"{bare}Export it with one: "
        "tf.saved_model.save(module, path, signatures=module.my_function), or name "
        "inputs and outputs in model.toml."
    )


def _reasons(declared: SignatureDefs) -> str:
    reasons = [f"'{name}': {why}" for name, why in declared.left_out.items()]
    return f"{'; '.join(reasons[:_MAX_NAMED])}. " if reasons else ""


def _source(
    session: Any, meta_graph: Any, declared: SignatureDefs, sidecar: Sidecar
) -> Source:
    left_out = {
        name: reason
        for name, reason in declared.left_out.items()
        if name not in declared.signatures
    }
    source = Source(
        format="SavedModel",
        writer=f"TensorFlow {meta_graph.meta_info_def.tensorflow_version or 'unknown'}",
        graph_def=session.graph.as_graph_def(),
        signatures=declared.signatures,
        left_out=left_out,
        default_signature=default_signature(declared.signatures, sidecar, left_out),
        reference=SessionReference(session),
        notes=declared.notes,
    )
    source.graph_def = prune(source.graph_def, source.tensors())
    source.tables = read_tables(source.graph_def, session)
    source.texts = [*example_records(source.graph_def), *table_texts(source.tables)]
    check_no_reference_writes(source.graph_def)
    source.variables = to_resources(
        source.graph_def, read_variables(source.graph_def, session)
    )
    rename_tables(source.graph_def)
    return source
