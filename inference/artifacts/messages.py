"""Messages to and from the compiler's child process."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from inference import errors
from inference.artifacts.artifact import Manifest
from inference.permissions import Permissions


class CompileRequest(BaseModel):
    """A request to compile the model at `path` into the empty `folder`.

    `sidecar` is its TOML file, if there is one, and `warmup` the requests recorded for
    it. `memory_bytes` and `cpu_seconds` limit the child; `None` for no limit. In the
    `background` it leaves more of the CPUs to others. It ends with the process
    `parent`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    sidecar: str | None
    warmup: str | None = None
    folder: str
    permissions: Permissions = Permissions()
    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    parent: int | None = None
    background: bool = False


def _is_an_error(name: str) -> str:
    kind = getattr(errors, name, None)

    if isinstance(kind, type) and issubclass(kind, errors.InferenceError):
        return name

    raise ValueError("there is no such error")


class CompileEvent(BaseModel):
    """One of: a stage begun, confinements that failed, an error, the manifest.

    `error_type` is a class in `inference.errors`. An error is `lasting` if the same
    files would be refused again, whatever the machine has free.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str | None = None
    unconfined: tuple[str, ...] | None = None
    error: str | None = None
    error_type: Annotated[str, AfterValidator(_is_an_error)] = "InvalidModel"
    lasting: bool = False
    manifest: Manifest | None = None
