"""MLServer, with its adaptive batching (set in the model's settings file)."""

from __future__ import annotations

from typing import Any

import numpy as np
from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceResponse  # type: ignore[import-not-found]

from benchmarks.peers.traced import Traced


class Model(MLModel):  # type: ignore[misc]
    """Tensors in, tensors out, by the Open Inference Protocol."""

    async def load(self) -> bool:
        self.traced = Traced()
        return True

    async def predict(self, payload: Any) -> Any:
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        output = NumpyCodec.encode_output("OUTPUT", self.traced(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])
