"""BentoML, with its adaptive batching."""

# BentoML reads the annotations when it runs: they can't be strings.
import bentoml  # type: ignore[import-not-found]
import numpy as np

from benchmarks.peers.traced import MAX_ROWS, Traced


@bentoml.service(workers=1, traffic={"timeout": 30})
class Predict:
    """One batchable call; the numbers alone are answered."""

    def __init__(self) -> None:
        self.traced = Traced()

    @bentoml.api(  # type: ignore[untyped-decorator]
        batchable=True,
        max_batch_size=MAX_ROWS,
        max_latency_ms=1000,
        batch_dim=0,
        route="/predict",
    )
    def predict(self, instances: np.ndarray) -> np.ndarray:
        return self.traced(np.asarray(instances, np.float32))  # type: ignore[no-any-return]
