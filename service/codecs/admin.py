"""The bodies of admin calls, decoded strictly. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    ValidationError,
)

from inference import LABEL, InvalidRequest, VersionNumber
from service.codecs.json.values import parse, refuse_duplicates

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_CALLS = 1024
SHOWN_PROBLEMS = 5
SHOWN_LETTERS = 80

Label = Annotated[str, StringConstraints(pattern=LABEL)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Nothing(Body):
    """The body of a call without parameters: empty, or `{}`."""


class Labels(RootModel[dict[Label, VersionNumber | None]]):
    """Versions by label; `None` removes a label."""

    model_config = ConfigDict(frozen=True, strict=True)

    root: Annotated[dict[Label, VersionNumber | None], Field(min_length=1)]


class Pin(Body):
    pinned: bool


class Concurrency(Body):
    concurrency: int = Field(ge=1, le=MOST_CALLS)


class Changes(RootModel[dict[str, str | int | float | None]]):
    """Settings by name; values are as in a settings file, `None` is the default."""

    model_config = ConfigDict(frozen=True, strict=True)

    root: Annotated[dict[str, str | int | float | None], Field(min_length=1)]


class Drain(Body):
    draining: bool


class Folder(Body):
    """A model's folder, as a platform names it; it may say more."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model_name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)
    url: str


EXAMPLES: dict[type[BaseModel], str] = {
    Nothing: "{}",
    Labels: '{"stable": 3, "canary": null}',
    Pin: '{"pinned": true}',
    Concurrency: '{"concurrency": 4}',
    Drain: '{"draining": true}',
    Folder: '{"model_name": "a", "url": "/opt/ml/models/a/model"}',
    Changes: '{"log_level": "debug", "max_queue": 64}',
}

B = TypeVar("B", bound=BaseModel)


def decode(body: bytes, kind: type[B]) -> B:
    """Decode `body`. Raise `InvalidRequest` with an example of what to send."""
    if kind is Nothing and not body.strip():
        body = b"{}"

    try:
        value = kind.model_validate_json(body)
    except ValidationError as exc:
        problems = "; ".join(map(_problem, exc.errors()[:SHOWN_PROBLEMS]))
        raise InvalidRequest(
            f"the body is invalid: {problems}. Send for example {EXAMPLES[kind]}"
        ) from None

    # pydantic, too, keeps the last of two equal keys.
    refuse_duplicates(body, parse(body))
    return value


def _problem(error: ErrorDetails) -> str:
    # pydantic reports an invalid label at the location `x.[key]`.
    place = ".".join(str(part) for part in error["loc"] if part != "[key]")
    place = place[:SHOWN_LETTERS]
    text = "there is no such key" if _is_extra(error) else error["msg"]
    return f"{place!r}: {text}" if place else text


def _is_extra(error: ErrorDetails) -> bool:
    return error["type"] == "extra_forbidden"
