"""The operator's permissions for model files, beyond what is always safe."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Permissions(BaseModel):
    """Permissions of all models; set for the server, never by a file beside a model.

    `allow_ops` names TensorFlow operations, `allow_classes` Keras classes as
    `module>ClassName` or a registered name. `memory_bytes` is the most that a model may
    need; `None` for no bound. Symlinks may lead into the folders `follow_links_to`, as
    well as into the repository.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow_ops: tuple[str, ...] = ()
    allow_classes: tuple[str, ...] = ()
    memory_bytes: int | None = None
    follow_links_to: tuple[Path, ...] = ()

    def shaping(self) -> str:
        """Return the part that artifacts depend on, as text for a hash."""
        return f"{sorted(set(self.allow_ops))} {sorted(set(self.allow_classes))}"
