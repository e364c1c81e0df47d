"""Triton's C++ front and batcher, with a Python model: its TensorFlow backend ended
in 2025."""

from __future__ import annotations

import os

import numpy as np
from pytriton.decorators import batch  # type: ignore[import-not-found]
from pytriton.model_config import (  # type: ignore[import-not-found]
    DynamicBatcher,
    ModelConfig,
    Tensor,
)
from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found]

from benchmarks.peers.traced import MAX_ROWS, PORT, Traced

traced = Traced()
ports = [int(port) for port in os.environ["PEER_OTHER_PORTS"].split(",")]


@batch  # type: ignore[untyped-decorator]
def infer(INPUT: np.ndarray) -> dict[str, np.ndarray]:
    return {"OUTPUT": traced(INPUT)}


def main() -> None:
    config = TritonConfig(
        http_port=PORT, grpc_port=ports[0], metrics_port=ports[1], log_verbose=0
    )

    with Triton(config=config) as triton:
        triton.bind(
            model_name="m",
            infer_func=infer,
            inputs=[Tensor(name="INPUT", dtype=np.float32, shape=traced.shape)],
            outputs=[Tensor(name="OUTPUT", dtype=np.float32, shape=traced.outputs)],
            config=ModelConfig(
                max_batch_size=MAX_ROWS,
                batcher=DynamicBatcher(max_queue_delay_microseconds=0),
            ),
        )
        triton.serve()


if __name__ == "__main__":
    main()
