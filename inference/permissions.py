"""What the operator lets model files do, beyond what is safe for any of them."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Permissions(BaseModel):
    """Set for the server, never beside a model: a file doesn't say what it may do.

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
        """What of it an artifact was made under, as text for a hash."""
        return f"{sorted(set(self.allow_ops))} {sorted(set(self.allow_classes))}"
