"""The kinds of machines that graphs are for: which operations of TensorFlow run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Machine(BaseModel):
    """A kind of machine: its architecture, and whether TensorFlow uses oneDNN there.

    That depends on the CPU, unless `TF_ENABLE_ONEDNN_OPTS` says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str
    onednn: bool

    def __str__(self) -> str:
        return f"{self.architecture}, oneDNN {'on' if self.onednn else 'off'}"


UNKNOWN = Machine(architecture="", onednn=False)


class PortableGraph(BaseModel):
    """A graph of the signatures and weights of another, that runs on any machine.

    `nbytes` and `sha256` are those of its file, which is compressed: few read it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimization: str
    nbytes: int
    sha256: str
