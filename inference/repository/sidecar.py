"""The optional TOML file beside a model, for what the model itself doesn't say."""

from __future__ import annotations

import math
import tomllib
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from inference.errors import InvalidSidecar
from inference.limits import Batching

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from inference.limits import Limits

T = TypeVar("T")

MAX_TIMEOUT_SECONDS = 86400
MAX_CACHE_SECONDS = 30 * 86400
MAX_BYTES = 2**20
MAX_SIDE = 16384
MAX_COUNT = 2**31 - 1
"""Most rows or requests; larger numbers don't fit into every document."""

_LONGEST_SHOWN = 200
_MOST_NAMED = 10
_MOST_KEY_STEPS = 4_000_000

LABEL = r"^[A-Za-z][A-Za-z0-9._-]{0,63}$"
VersionNumber = Annotated[int, Field(ge=1, lt=10**18)]


def _named(value: object) -> object:
    """Name each tensor of a list after its node."""
    if not isinstance(value, list):
        return value

    return {str(tensor).removesuffix(":0"): tensor for tensor in value}


Tensors = Annotated[dict[str, str], BeforeValidator(_named)]


class SignatureConfig(BaseModel):
    """Inputs and outputs of a graph: the client's name → the graph's tensor.

    What isn't given stays as the model has it, or is discovered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: Tensors | None = None
    outputs: Tensors | None = None


def _ascending(rows: tuple[int, ...]) -> tuple[int, ...]:
    if not rows or list(rows) != sorted(set(rows)) or rows[0] < 1:
        raise ValueError("must be positive numbers in ascending order")

    if rows[-1] > MAX_COUNT:
        raise ValueError(f"must be at most {MAX_COUNT}")

    return rows


class BatchingTable(BaseModel):
    """Batching of several requests' rows; see `inference.limits.Batching`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_rows: int | None = Field(default=None, ge=1, le=MAX_COUNT)
    max_delay_ms: float | None = Field(default=None, ge=0, le=1000)
    allowed_rows: Annotated[tuple[int, ...], AfterValidator(_ascending)] | None = None


class ModelBatchingTable(BatchingTable):
    """Batching of the whole model, with tables for signatures that differ."""

    signatures: dict[str, BatchingTable] = Field(default_factory=dict)


class VersionsTable(BaseModel):
    """The version policy, as in TensorFlow Serving: exactly one of the keys.

    `latest` serves that many of the newest, `all` every version, `only` those listed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    latest: int | None = Field(default=None, ge=1, le=MAX_COUNT)
    all: Literal[True] | None = None
    only: Annotated[tuple[int, ...], AfterValidator(_ascending)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("must have one of the keys latest, all, only")

        return self


def _pair(value: object) -> object:
    return (value, value) if type(value) is int else value


def _each(value: object) -> object:
    return (value,) if type(value) in (int, float) else value


def _channels(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise ValueError("must be one number, or one for each of 3 channels")

    return values


def _divisors(values: tuple[float, ...]) -> tuple[float, ...]:
    if 0 in values:
        raise ValueError("must not be 0: pixels are divided by it")

    return values


Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
PerChannel = Annotated[
    tuple[float, ...], BeforeValidator(_each), AfterValidator(_channels)
]


class PreprocessTable(BaseModel):
    """Numbers that images become; see `inference.inputs.images.Preprocessing`.

    `preset` is a module of `keras.applications`, and excludes the keys of what its
    `preprocess_input` does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str | None = None
    size: Annotated[tuple[Side, Side], BeforeValidator(_pair)] | None = None
    scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    mean: PerChannel = (0.0,)
    std: Annotated[PerChannel, AfterValidator(_divisors)] = (1.0,)
    channels: Literal["rgb", "bgr"] = "rgb"
    resize: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "nearest"
    antialias: bool = True
    max_pixels: int | None = Field(default=None, ge=1, le=MAX_COUNT)

    @model_validator(mode="after")
    def _preset_alone(self) -> Self:
        both = {"scale", "mean", "std", "channels"} & self.model_fields_set

        if self.preset is not None and both:
            raise ValueError(f"has a preset, which excludes {', '.join(sorted(both))}")

        return self


def _sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    if not all(size == -1 or 1 <= size <= MAX_COUNT for size in shape):
        raise ValueError("must be sizes, without the batch's, and -1 for an open one")

    return shape


def _layers(value: object) -> object:
    names = value if isinstance(value, list | tuple) else None

    if value != "all" and (names is None or not all(isinstance(n, str) for n in names)):
        raise ValueError('must be a list of names of layers, or "all"')

    return value


_SHAPING = (
    "default_signature",
    "signatures",
    "constants",
    "input_shape",
    "backend",
    "carry_state",
    "sample",
    "layers",
    "training",
)
"""The keys that the compiled artifact depends on."""


class Sidecar(BaseModel):
    """`model.toml` in a model's folder, or `<stem>.toml` beside a bare file.

    The compiled artifact depends on the keys in `_SHAPING` alone. `versions`, `labels`
    and `pinned` are read from the model's sidecar, not from a version's. `input_shape`
    and `backend` are for Keras files that don't state them; a size of -1 is open.
    `sample` names a file of inputs that the model takes, `layers` a Keras model's inner
    layers whose outputs requests may ask for. `classes` names a file of the classes'
    names. `preprocess` says which numbers images become. `training` adds an input that
    switches a Keras model's dropout on. Answers may be given again for `cache_seconds`.
    With `async`, `asynchronous` here, a prediction is answered with a job unless the
    client wants to wait.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    default_signature: str | None = None
    signatures: dict[str, SignatureConfig] = Field(default_factory=dict)
    constants: dict[str, bool | int | float | str] = Field(default_factory=dict)
    input_shape: Annotated[tuple[int, ...], AfterValidator(_sizes)] | None = None
    backend: Literal["cntk", "tensorflow", "theano"] | None = None
    carry_state: bool = False
    sample: str | None = None
    layers: Annotated[Literal["all"] | tuple[str, ...], BeforeValidator(_layers)] = ()
    training: Literal["optional"] | None = None
    preprocess: PreprocessTable | None = None
    concurrency: int | None = Field(default=None, ge=1, le=1024)
    intra_op_threads: int | None = Field(default=None, ge=1, le=1024)
    max_queue: int | None = Field(default=None, ge=0, le=MAX_COUNT)
    timeout: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT_SECONDS)
    batching: ModelBatchingTable = Field(default_factory=ModelBatchingTable)
    versions: VersionsTable = VersionsTable(latest=1)
    labels: dict[Annotated[str, StringConstraints(pattern=LABEL)], VersionNumber] = (
        Field(default_factory=dict)
    )
    pinned: bool = False
    classes: str | None = None
    cache_seconds: float | None = Field(default=None, gt=0, le=MAX_CACHE_SECONDS)
    asynchronous: bool = Field(default=False, alias="async")

    def shaping(self) -> str:
        """Return the keys that shape the artifact, as text for a hash."""
        return self.model_dump_json(include=set(_SHAPING))


Place = tuple[int | str, ...]

_TABLES: Mapping[Place, type[BaseModel]] = {
    ("signatures",): SignatureConfig,
    ("batching",): ModelBatchingTable,
    ("batching", "signatures"): BatchingTable,
    ("preprocess",): PreprocessTable,
    ("versions",): VersionsTable,
}
_WRONG_KEYS = {
    "extra_forbidden": "there is no such key",
    "model_type": "it must be a table",
}


def read_sidecar(path: Path | None) -> Sidecar:
    """Read a sidecar; `None` gives an empty one. Raises `InvalidSidecar`."""
    if path is None:
        return Sidecar()

    with sidecar_errors(path):
        return _parse(path)


@contextmanager
def sidecar_errors(path: Path | None) -> Iterator[None]:
    """Prefix `InvalidSidecar` errors with the sidecar's file name."""
    try:
        yield
    except InvalidSidecar as exc:
        name = path.name if path else "sidecar"
        raise InvalidSidecar(f"{name}: {exc}") from exc


def _parse(path: Path) -> Sidecar:
    try:
        return Sidecar.model_validate(tomllib.loads(_text(path)))
    except OSError as exc:
        raise InvalidSidecar(f"it can't be read: {exc.strerror}.") from exc
    except ValidationError as exc:
        raise InvalidSidecar(_problems(exc)) from exc
    except RecursionError as exc:
        raise InvalidSidecar("it is nested too deeply.") from exc
    except ValueError as exc:
        # The parser's, the decoder's, or Python's for a number of too many digits.
        raise InvalidSidecar(f"it isn't valid TOML: {_shown(exc)}.") from exc


def _text(path: Path) -> str:
    """Read the text. Raises `InvalidSidecar` if parsing it would fill the memory."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)

    if len(content) > MAX_BYTES:
        raise InvalidSidecar(f"it is larger than {MAX_BYTES:,} bytes.")

    # The parser keeps every prefix of a dotted key: the square of its length.
    if sum(line.count(b".") ** 2 for line in content.split(b"\n")) > _MOST_KEY_STEPS:
        raise InvalidSidecar("its keys have too many dots.")

    return content.decode("utf-8").replace("\r\n", "\n")


def _problems(error: ValidationError) -> str:
    problems = error.errors()[:_MOST_NAMED]
    lines = [f"{_name(each['loc'])}: {_wording(each)}" for each in problems]
    places = [_place(each) for each in problems if each["type"] in _WRONG_KEYS]
    keys = [_keys(place) for place in dict.fromkeys(places)]
    return " ".join([f"{'; '.join(lines)}.", *keys])


def _wording(problem: ErrorDetails) -> str:
    wording = _WRONG_KEYS.get(problem["type"])
    if wording is not None:
        return wording

    wording = str(problem["msg"]).removeprefix("Value error, ")
    try:
        given = repr(problem["input"])
    except (RecursionError, ValueError):
        # Nested too deeply, or a number of too many digits.
        return wording

    return f"{wording}, got {_shown(given)}"


def _place(problem: ErrorDetails) -> Place:
    """Return the table that the keys of `problem` belong to."""
    place = problem["loc"]
    return place if problem["type"] == "model_type" else place[:-1]


def _keys(place: Place) -> str:
    tables = (_TABLES[place[:end]] for end in (2, 1) if place[:end] in _TABLES)
    fields = next(tables, Sidecar).model_fields.items()
    keys = ", ".join(field.alias or name for name, field in fields)
    return (
        f"The keys of {_name(place)} are: {keys}."
        if place
        else f"The keys are: {keys}."
    )


def _name(place: Place) -> str:
    return f"'{'.'.join(map(str, place))}'"


def _shown(value: object) -> str:
    text = str(value)
    whole = len(text) <= _LONGEST_SHOWN
    return text if whole else f"{text[:_LONGEST_SHOWN]}…"


def limits_with(sidecar: Sidecar, defaults: Limits) -> Limits:
    """Return `defaults` with the sidecar's changes. Raises `InvalidSidecar`."""
    table = sidecar.batching
    batching = _batching(defaults.batching, table, "batching")
    return replace(
        defaults,
        concurrency=sidecar.concurrency or defaults.concurrency,
        intra_op_threads=sidecar.intra_op_threads or defaults.intra_op_threads,
        max_queue=_either(sidecar.max_queue, defaults.max_queue),
        own_queue=sidecar.max_queue is not None,
        timeout_seconds=_either(sidecar.timeout, defaults.timeout_seconds),
        batching=batching,
        signatures={
            name: _batching(batching, own, f"batching.signatures.{name}")
            for name, own in table.signatures.items()
        },
    )


def _either(own: T | None, default: T) -> T:
    return default if own is None else own


def _batching(base: Batching, table: BatchingTable, place: str) -> Batching:
    rows = _max_rows(base, table)
    allowed = table.allowed_rows

    if allowed is not None and allowed[-1] != rows:
        raise InvalidSidecar(
            f"'{place}': the largest of allowed_rows is {allowed[-1]}, and max_rows is "
            f"{rows}; they must be the same."
        )

    if allowed is None:
        allowed = tuple(size for size in base.allowed_rows if size <= rows)

    delay = table.max_delay_ms
    return Batching(
        max_rows=rows,
        max_delay_seconds=base.max_delay_seconds if delay is None else delay / 1000,
        allowed_rows=allowed,
    )


def _max_rows(base: Batching, table: BatchingTable) -> int:
    if table.max_rows is not None:
        return table.max_rows

    return table.allowed_rows[-1] if table.allowed_rows else base.max_rows
