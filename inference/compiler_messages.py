"""What the compiler's child process is told, and what it tells."""

from pydantic import BaseModel, ConfigDict

from inference.artifact import Manifest
from inference.permissions import Permissions


class CompileRequest(BaseModel):
    """Compile the model at `path` into `folder`, which exists and is empty.

    `sidecar` is the TOML file that belongs to it, if there is one, and `warmup` the
    requests recorded for it. `memory_bytes` and
    `cpu_seconds` are what the child may use; `None` for no limit. In the `background`
    it leaves more of the CPUs to others. It ends with the process `parent`.
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


class CompileEvent(BaseModel):
    """One of: a stage begun, what didn't confine the child, an error, the end.

    `error_type` is a class in `inference.errors`. An error is `lasting` if the same
    files would be refused again, whatever the machine has free.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str | None = None
    unconfined: tuple[str, ...] | None = None
    error: str | None = None
    error_type: str = "InvalidModel"
    lasting: bool = False
    manifest: Manifest | None = None
