"""LitServe, with its own batching of requests."""

from __future__ import annotations

from typing import Any

import litserve  # type: ignore[import-not-found]
import numpy as np

from benchmarks.peers.traced import MAX_ROWS, PORT, Traced


class Predict(litserve.LitAPI):  # type: ignore[misc]
    """Requests of any number of rows are joined, and parted again."""

    def setup(self, device: str) -> None:
        self.traced = Traced()

    # LitServe would make a schema of annotations here.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return np.asarray(request["instances"], np.float32)

    def batch(self, inputs: Any) -> Any:
        self.sizes = [len(rows) for rows in inputs]
        return np.concatenate(inputs)

    def predict(self, rows: Any) -> Any:
        return self.traced(rows)

    def unbatch(self, output: Any) -> Any:
        return np.split(output, np.cumsum(self.sizes)[:-1])

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Predict(max_batch_size=MAX_ROWS, batch_timeout=0.002),
        accelerator="cpu",
        workers_per_device=1,
    )
    server.run(
        port=PORT, num_api_servers=1, log_level="error", generate_client_file=False
    )
