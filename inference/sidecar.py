"""The optional TOML file beside a model: what can't be read from the model itself."""

from __future__ import annotations

import tomllib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal, Self

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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic_core import ErrorDetails


MAX_TIMEOUT_SECONDS = 86400

LABEL = r"^[A-Za-z][A-Za-z0-9._-]{0,63}$"
VersionNumber = Annotated[int, Field(ge=1, lt=10**18)]


def _named(value: object) -> object:
    """A list of tensors names each tensor after its node."""
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

    return rows


class BatchingTable(BaseModel):
    """How rows of several requests are joined; see `inference.batching.Batching`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_rows: int | None = Field(default=None, ge=1)
    max_delay_ms: float | None = Field(default=None, ge=0, le=1000)
    allowed_rows: Annotated[tuple[int, ...], AfterValidator(_ascending)] | None = None


class ModelBatchingTable(BatchingTable):
    """The same for the whole model, with tables for signatures that differ."""

    signatures: dict[str, BatchingTable] = Field(default_factory=dict)


class VersionsTable(BaseModel):
    """Which versions are served, one of the keys: TensorFlow Serving's policies.

    `latest` is how many of the newest, `all` all of them, `only` just these.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    latest: int | None = Field(default=None, ge=1)
    all: Literal[True] | None = None
    only: Annotated[tuple[int, ...], AfterValidator(_ascending)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("must have one of the keys latest, all, only")

        return self


class Sidecar(BaseModel):
    """`model.toml` in a model's folder, or `<stem>.toml` beside a bare file.

    The compiled artifact depends on the first three keys alone. `versions`, `labels`
    and `pinned` are read from the sidecar of the model, not from that of a version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    default_signature: str | None = None
    signatures: dict[str, SignatureConfig] = Field(default_factory=dict)
    constants: dict[str, bool | int | float | str] = Field(default_factory=dict)
    concurrency: int | None = Field(default=None, ge=1, le=1024)
    intra_op_threads: int | None = Field(default=None, ge=1, le=1024)
    max_queue: int | None = Field(default=None, ge=0)
    timeout: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT_SECONDS)
    batching: ModelBatchingTable = Field(default_factory=ModelBatchingTable)
    versions: VersionsTable = VersionsTable(latest=1)
    labels: dict[Annotated[str, StringConstraints(pattern=LABEL)], VersionNumber] = (
        Field(default_factory=dict)
    )
    pinned: bool = False

    def shaping(self) -> str:
        """What of it shapes the artifact, as text for a hash."""
        return self.model_dump_json(
            include={"default_signature", "signatures", "constants"}
        )


def read_sidecar(path: Path | None) -> Sidecar:
    """The sidecar in `path`; an empty one for `None`. Raises `InvalidSidecar`."""
    if path is None:
        return Sidecar()

    with blaming_sidecar(path):
        return _parse(path)


@contextmanager
def blaming_sidecar(path: Path | None) -> Iterator[None]:
    """Put the sidecar's file name before what is said against it."""
    try:
        yield
    except InvalidSidecar as exc:
        name = path.name if path else "sidecar"
        raise InvalidSidecar(f"{name}: {exc}") from exc


def _parse(path: Path) -> Sidecar:
    try:
        return Sidecar.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as exc:
        raise InvalidSidecar(f"it can't be read: {exc.strerror}.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InvalidSidecar(f"it isn't valid TOML: {exc}.") from exc
    except ValidationError as exc:
        raise InvalidSidecar(_problems(exc)) from exc


def _problems(error: ValidationError) -> str:
    known = ", ".join(Sidecar.model_fields)
    lines = [
        f"'{'.'.join(map(str, problem['loc']))}': {_wording(problem)}"
        for problem in error.errors()
    ]
    return f"{'; '.join(lines)}. The keys are: {known}."


def _wording(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such key"

    return f"{problem['msg']}, got {problem['input']!r}"
