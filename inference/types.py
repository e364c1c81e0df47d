"""Values shared by all parts: names, specs, signatures, states."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Array = np.ndarray[Any, Any]
Shape = tuple[int | None, ...] | None
"""A tensor's shape: `None` for an unknown dimension, or for an unknown rank."""


UNNAMED = ""
"""The key of a value sent without a name: it goes to the one required input."""


class Numbers(Protocol):
    """Nested lists of numbers that are parsed once the signature's dtype is known."""

    def array(self, dtype: np.dtype[Any]) -> Array | None:
        """Return the array, or `None` if only `lists` can tell."""

    def lists(self) -> Any:
        """Return nested Python lists. May be called after `array` returned `None`."""


@dataclass(frozen=True, slots=True, order=True)
class ModelId:
    """One version of one model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def title(self) -> str:
        """The name in a sentence."""
        # Most models have a version 1 and no other.
        if self.version == 1:
            return f"Model '{self.name}'"

        return f"Version {self.version} of model '{self.name}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The model that a client names, by version or label; the newest without."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One tensor of a composite one named `of`.

    A `kind` of `"ragged"` has the roles `values` and `row_splits`, the outermost first;
    a `"sparse"` one has `indices`, `values` and `shape`. `shape` is the composite's.
    """

    of: str
    kind: str
    role: str
    shape: Shape = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """A named input or output.

    `name` is the client's name, `tensor` the graph's (`"x:0"`). `dtype` is TensorFlow's
    (`"float32"`, `"bfloat16"`, `"string"`). `default` is the value of an optional
    input; a required one has none. `part` is its role in a ragged or sparse tensor. An
    output `on_request` is computed only for a request that names it.
    """

    name: str
    tensor: str
    dtype: str
    shape: Shape
    default: Array | None = None
    part: Part | None = None
    on_request: bool = False

    @property
    def required(self) -> bool:
        return self.default is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Inputs that a model took when it was compiled: shapes by name, one row each.

    Strings are filled with the name's `texts`, numbers with its `fills`, or 0.
    """

    shapes: Mapping[str, tuple[int, ...]]
    texts: Mapping[str, bytes] = field(default_factory=dict)
    fills: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A function of a model: named inputs to named outputs, in a fixed order.

    `batchable` says that rows of several requests may be joined along dimension 0;
    `batchable_reason` says why not. `sample` is `None` if the model took no generated
    inputs. A request that names an output of `alone` isn't joined with others. `seed`
    is the optional input that random masks depend on.

    `repeatable` says that equal inputs are certain to give equal outputs: no random
    numbers but those of `seed`, and no state. `method` is what TensorFlow Serving has
    it declared for: `classify` and `regress` take serialized `tf.train.Example`s.

    `usual` are the outputs of a request that names none, `optional` the inputs that it
    may leave out. `takes_parts` and `gives_parts` say that an input or output is ragged
    or sparse.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    batchable: bool = False
    batchable_reason: str = "not tried"
    sample: Sample | None = None
    alone: tuple[str, ...] = ()
    seed: str | None = None
    repeatable: bool = False
    method: str = "predict"
    usual: tuple[str, ...] = field(init=False, repr=False, compare=False)
    optional: frozenset[str] = field(init=False, repr=False, compare=False)
    takes_parts: bool = field(init=False, repr=False, compare=False)
    gives_parts: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Needed at each call, so computed once.
        usual = tuple(k for k, spec in self.outputs.items() if not spec.on_request)
        optional = frozenset(k for k, spec in self.inputs.items() if not spec.required)
        object.__setattr__(self, "usual", usual)
        object.__setattr__(self, "optional", optional)
        object.__setattr__(self, "takes_parts", _in_parts(self.inputs))
        object.__setattr__(self, "gives_parts", _in_parts(self.outputs))

    @property
    def required(self) -> list[str]:
        return [name for name, spec in self.inputs.items() if spec.required]


def _in_parts(specs: Mapping[str, TensorSpec]) -> bool:
    return any(spec.part is not None for spec in specs.values())


class ModelState(enum.StrEnum):
    """A version's state, as in TensorFlow Serving's `core/servable_state.h`.

    `END` is both unloaded and failed; a status' `error` tells which.
    """

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """A version's requests now: `running` in TensorFlow, `waiting` in the queue.

    `orphans` are running requests that expired or whose client disconnected; they hold
    their token until their thread ends. `tokens` are the tokens taken.
    """

    running: int = 0
    waiting: int = 0
    orphans: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A number of events, and the nanoseconds that all of them took."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """Runs of as many `rows`: their inputs joined, the model run, outputs divided."""

    rows: int
    joined: Duration
    ran: Duration
    divided: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceStatistics:
    """A version's requests since it was found, and its `runs` of all their `rows`.

    Times of requests are from their arrival; `queued` is until a thread took them.
    """

    rows: int = 0
    runs: int = 0
    succeeded: Duration = Duration()
    failed: Duration = Duration()
    queued: Duration = Duration()
    batches: tuple[BatchStatistics, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """A snapshot of one version. `stage` is the stage of `LOADING`.

    `left_out` are signatures of its files that can't be served, with the reason; the
    default one may be among them. `error` is why it can't answer, `update_error` why
    its files' present content isn't what answers. `integrity` is `verified` against
    the repository's checksums, or `unverified`. `memory_bytes` is 0 while it is out of
    memory; the next request loads it. `last_used` is in seconds since the epoch.
    """

    id: ModelId
    path: str
    state: ModelState
    stage: str = ""
    error: str | None = None
    format: str | None = None
    writer: str | None = None
    default_signature: str | None = None
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    concurrency: int | None = None
    load_seconds: float | None = None
    queue: QueueStats = field(default_factory=QueueStats)
    update_error: str | None = None
    labels: tuple[str, ...] = ()
    pinned: bool = False
    integrity: str | None = None
    memory_bytes: int | None = None
    last_used: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Dropout at inference: `samples` calls with masks drawn from `seed` and on.

    `None` leaves `training` and `seed` to the inputs; without either, masks are fresh.
    The result has `mean` and `std`, with `keep` all `samples`.
    """

    training: bool | None = None
    seed: int | None = None
    samples: int | None = None
    keep: bool = False


NO_SAMPLING = Sampling()


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """Named inputs for one signature of one model.

    A value is an array of the signature's dtype, or nested lists with `bool`, `int`,
    `float`, `str` or `bytes` at the leaves, or `Numbers`. The only key may be
    `UNNAMED`. `outputs` selects outputs; `None` asks for the usual ones. With `top_k`
    the result has that many of the best `classes` and their `scores`. `signature`
    `None` is the model's default. `timeout` is in seconds, at most and by default the
    model's. `exact` returns the inputs from their text once more; see `bind`.
    """

    model: ModelSpec
    inputs: Mapping[str, Any]
    signature: str | None = None
    outputs: tuple[str, ...] | None = None
    top_k: int | None = None
    sampling: Sampling = NO_SAMPLING
    timeout: float | None = None
    exact: Callable[[], Mapping[str, Any]] | None = None


class Times(NamedTuple):
    """Seconds of a prediction: binding its inputs, waiting, and in the model.

    A call of the model that several requests share counts for each of them.
    """

    bind: float = 0.0
    queue: float = 0.0
    compute: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictResult:
    """Arrays by output name; string tensors are object arrays of `bytes`.

    A ragged or sparse output is in parts: see `composites.put_together`. `digest`
    is that of the version which answered; see `CachePolicy`. `classes` are the names
    of its sidecar, if there are any.
    """

    model: ModelId
    signature: Signature
    outputs: Mapping[str, Array]
    digest: str = ""
    classes: tuple[str, ...] = ()
    times: Times = Times()


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """The time for which answers of a version may be given again: `seconds`.

    `digest` stands for all that its answers depend on besides the request: files, keys
    of the sidecar, the versions of TensorFlow and Keras. A request takes at most
    `limit_seconds`.
    """

    model: ModelId
    digest: str
    seconds: float
    limit_seconds: float
    default_signature: str
    signatures: Mapping[str, Signature]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """The state of the whole engine, and its counters since the start.

    `repository_error` is why the repository can't be read now. `memory_bytes` of at
    most `memory_budget` are taken by loaded models. `reloads` are loads of evicted
    versions: many of them mean that the budget is too small.
    """

    memory_budget: int
    memory_bytes: int = 0
    repository_error: str | None = None
    draining: bool = False
    loads: int = 0
    load_failures: int = 0
    evictions: int = 0
    reloads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """Facts of a version: its compilation, and what its sidecar sets.

    `optimization` is the level that passed the comparison with the source, whose
    outputs differed by at most `largest_difference`; `None` if no sample could be
    compared. `layers` are the shapes of inner outputs that the sidecar may name.
    `preprocessing` is what images go through, `max_rows` the most rows of a batch by
    signature.
    """

    source_bytes: int
    source_sha256: str
    compiled_with: Mapping[str, str]
    compile_seconds: float
    optimization: str
    largest_difference: float | None
    notes: tuple[str, ...]
    layers: Mapping[str, Shape]
    classes: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    max_rows: Mapping[str, int]
    max_queue: int
    timeout_seconds: float
    asynchronous: bool
    cache_seconds: float | None
