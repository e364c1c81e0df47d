"""What the compiler's child process is told, and what it tells."""

from pydantic import BaseModel, ConfigDict

from inference.artifact import Manifest
from inference.permissions import Permissions


class CompileRequest(BaseModel):
    """Compile the model at `path` into `folder`, which exists and is empty.

    `sidecar` is the TOML file that belongs to it, if there is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    sidecar: str | None
    folder: str
    permissions: Permissions = Permissions()


class CompileEvent(BaseModel):
    """One of: a stage begun, an error (of a class in `inference.errors`), the end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str | None = None
    error: str | None = None
    error_type: str = "InvalidModel"
    manifest: Manifest | None = None
