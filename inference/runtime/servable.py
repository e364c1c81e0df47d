"""Loaded models: a TensorFlow session for each, with its weights mapped."""

from __future__ import annotations

import ctypes
import gc
import math
import platform
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from inference.artifacts.artifact import INIT, Artifact, Manifest, signatures_of
from inference.artifacts.machine import Machine
from inference.backend import config_pb2, onednn_enabled, tf, tf1
from inference.dtypes import numpy_dtype
from inference.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    InferenceError,
    InputMismatch,
    InsufficientMemory,
    UnknownSignature,
    first_line,
)
from inference.inputs.part_samples import fit_parts
from inference.runtime.exhaustion import explain_exhaustion
from inference.runtime.guards import explain
from inference.system.memory import available_memory
from inference.system.priority import start_lowered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inference.types import Array, Sample, Signature

    Weights = Mapping[str, Array]

# TensorFlow's value for running operations in the calling thread.
_CALLER_THREAD = -1

_MAX_CALLABLES = 64

_CLIENT_ERRORS = (
    # Bytes that can't be decoded: a served graph reads no files.
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.OutOfRangeError,
    tf.errors.UnimplementedError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """Threads of a session.

    One operation uses up to `intra_op`. `inter_op` operations run at once; 0 runs them
    one by one in the thread that calls `run`, without a hand-over. Graphs with loops
    can't use the caller's thread and get one for each of `calls` concurrent runs.
    """

    intra_op: int = 1
    inter_op: int = 0
    calls: int = 1


class Servable:
    """A loaded model: signatures, and a blocking `run` that any thread may call.

    Close it when no `run` is in flight, to free its memory. Raises `DamagedArtifact` if
    the files aren't what was written. Several of one artifact may share `weights` from
    `Artifact.map_weights`, which are then in memory once.

    After `time_limit` seconds a run ends at its loop's next turn, or at once in an
    operation that waits for a queue or a data set.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        threads: Threads | None = None,
        time_limit: float | None = None,
        weights: Weights | None = None,
    ) -> None:
        self.manifest = artifact.read_manifest()
        self.signatures = signatures_of(self.manifest)
        self._threads = threads or Threads()
        self._time_limit = time_limit
        self._callables: dict[tuple[str, tuple[str, ...]], Callable[..., Any]] = {}
        self._lock = threading.Lock()
        weights = weights or artifact.map_weights(self.manifest)
        portable = takes_portable(artifact, self.manifest)
        graph = artifact.read_graph(self.manifest, portable=portable)
        self._session = _open_session(graph, self._threads, weights)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self,
        signature: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Array]:
        """Return the named outputs, by default the usual, for arrays of right dtypes.

        Optional inputs may be left out. Raises `UnknownSignature`, `InputMismatch` if
        TensorFlow blames the input, `InsufficientMemory`, `DeadlineExceeded` past the
        time limit, and `ExecutionFailed` otherwise.
        """
        found = self._signature(signature)
        names = found.usual if outputs is None else tuple(outputs)
        call = self._callables.get((signature, names)) or self._make(found, names)
        feeds = [
            inputs[name] if name in inputs else spec.default
            for name, spec in found.inputs.items()
        ]

        try:
            values = call(*feeds)
        except tf.errors.OpError as exc:
            raise self._translate(exc) from exc
        except MemoryError as exc:
            raise InsufficientMemory from exc

        return {
            name: value if isinstance(value, np.ndarray) else _scalar(value)
            for name, value in zip(names, values, strict=True)
        }

    def warm_up(self) -> None:
        """Run each signature once on its sample, as a session's first call is slow."""
        for signature in self.signatures.values():
            if signature.sample is not None:
                self.run(signature.name, sample_inputs(signature, signature.sample))

    def close(self) -> None:
        """Free the session, its variables and mappings. Idempotent."""
        self._callables.clear()
        session, self._session = self._session, None

        if session is not None:
            session.close()
            del session
            _release_feeds()
            trim_memory()

    def _translate(self, error: Exception) -> InferenceError:
        if isinstance(error, _CLIENT_ERRORS):
            text = explain(error) or f"The model refused the input: {first_line(error)}"
            return InputMismatch(text)

        if isinstance(error, tf.errors.ResourceExhaustedError):
            return explain_exhaustion(str(error), available_memory())

        limit = self._time_limit

        if limit is not None and isinstance(error, tf.errors.DeadlineExceededError):
            return DeadlineExceeded(f"The model ran longer than {limit:g} s.")

        return ExecutionFailed(f"The model failed: {first_line(error)}")

    def _signature(self, name: str) -> Signature:
        try:
            return self.signatures[name]
        except KeyError:
            raise UnknownSignature(
                f"The model has no signature '{name}'; it has: "
                f"{', '.join(sorted(self.signatures))}."
            ) from None

    def _make(self, signature: Signature, names: tuple[str, ...]) -> Callable[..., Any]:
        with self._lock:
            key = (signature.name, names)

            if key not in self._callables:
                if len(self._callables) >= _MAX_CALLABLES:
                    # Clients choose the outputs; the oldest choice makes room.
                    del self._callables[next(iter(self._callables))]

                self._callables[key] = self._callable(signature, names)

            return self._callables[key]

    def _callable(
        self, signature: Signature, names: tuple[str, ...]
    ) -> Callable[..., Any]:
        options = config_pb2.CallableOptions()
        options.feed.extend(spec.tensor for spec in signature.inputs.values())
        options.fetch.extend(signature.outputs[name].tensor for name in names)

        # Loops hand work between threads; other graphs are faster in one.
        if not self._threads.inter_op and not self.manifest.control_flow:
            options.run_options.inter_op_thread_pool = _CALLER_THREAD

        # TensorFlow checks the clock only in loops and waits. Other graphs may be slow,
        # but not stuck, as each of their operations runs once.
        if self._time_limit is not None:
            # At least 1: TensorFlow takes 0 for no limit.
            limit_ms = max(1, math.ceil(self._time_limit * 1000))
            options.run_options.timeout_in_ms = limit_ms

        # Session.make_callable with feeds goes through Session.run, which takes several
        # times as long; Keras and TensorFlow call this instead.
        return self._session._make_callable_from_options(options)  # type: ignore[no-any-return]


def sample_inputs(
    signature: Signature, sample: Sample, rows: int | None = None
) -> dict[str, Array]:
    """Return the required inputs of `sample`; with `rows`, so many rows of each."""
    shapes = sample.shapes

    if rows is not None:
        shapes = {name: (rows, *shape[1:]) for name, shape in shapes.items()}

    made = {
        name: np.full(shapes[name], sample.texts.get(name, b""), object)
        if spec.dtype == "string"
        else np.full(shapes[name], sample.fills.get(name, 0), numpy_dtype(spec.dtype))
        for name, spec in signature.inputs.items()
        if spec.required
    }
    return fit_parts(signature, made)


def trim_memory() -> None:
    """Return freed memory to the system, if the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    if trim is not None:
        trim(0)


def _scalar(value: Any) -> Array:
    """Return the array of a tensor of rank 0: NumPy's scalar, or `bytes`."""
    # NumPy's own strings would lose trailing zero bytes.
    return np.asarray(value, dtype=object if isinstance(value, bytes) else None)


def this_machine() -> Machine:
    return Machine(architecture=platform.machine(), onednn=onednn_enabled())


def is_foreign(manifest: Manifest) -> bool:
    """Return whether the graph was fused for another kind of machine."""
    return manifest.native and manifest.machine != this_machine()


def takes_portable(artifact: Artifact, manifest: Manifest) -> bool:
    """Return whether to run the portable form of the graph, if there is one."""
    wanted = artifact.portable
    return is_foreign(manifest) if wanted is None else wanted


def _open_session(content: bytes, threads: Threads, weights: Weights) -> Any:
    graph_def = tf1.GraphDef.FromString(content)
    names = {node.name for node in graph_def.node}
    graph = tf.Graph()

    with graph.as_default():
        tf.graph_util.import_graph_def(graph_def, name="")

    # The session starts its own threads, which inherit the priority.
    session = start_lowered(partial(tf1.Session, graph=graph, config=_config(threads)))
    feeds = {f"{feed}:0": value for feed, value in weights.items() if feed in names}

    try:
        session.run(INIT, feed_dict=feeds)
    except BaseException:
        session.close()
        raise

    return session


def _config(threads: Threads) -> Any:
    config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=threads.intra_op,
        inter_op_parallelism_threads=threads.inter_op or threads.calls,
        use_per_session_threads=True,
        allow_soft_placement=True,
    )
    # The graph was optimized and verified when it was compiled: it must stay so.
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.experimental.optimize_for_static_graph = True
    return config


def _release_feeds() -> None:
    """Release the mapped weights that the last session was fed."""
    # TensorFlow drops fed arrays at its next call, so make one.
    graph = tf.Graph()

    with graph.as_default():
        fed = tf1.placeholder(tf.float32, [1])

    with tf1.Session(graph=graph) as session:
        session.run(fed + 0.0, feed_dict={fed: np.zeros(1, np.float32)})
