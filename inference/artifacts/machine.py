"""Kinds of machines, by the TensorFlow operations that run on them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Machine(BaseModel):
    """A kind of machine: its architecture, and TensorFlow's use of oneDNN.

    The latter depends on the CPU, unless `TF_ENABLE_ONEDNN_OPTS` is set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str
    onednn: bool

    def __str__(self) -> str:
        return f"{self.architecture}, oneDNN {'on' if self.onednn else 'off'}"


UNKNOWN = Machine(architecture="", onednn=False)


class PortableGraph(BaseModel):
    """A second graph of the same signatures and weights that runs on any machine.

    `nbytes` and `sha256` are those of its compressed file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimization: str
    nbytes: int
    sha256: str
