"""KServe's client, by both protocols: `python kserve_rest.py URL`."""

import asyncio
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferOutput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

X = np.array([1.0, 2.5], np.float32)


async def main(url: str) -> None:
    await check_first(url)
    await check_second(url)


async def check_first(url: str) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    assert await client.is_server_live(url)
    assert await client.is_model_ready(url, "one")
    answer = await client.infer(url, {"instances": X.tolist()}, model_name="one")
    assert answer == {"predictions": X.tolist()}


async def check_second(url: str) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "one")

    for binary in (True, False):
        sent = InferInput("x", list(X.shape), "FP32")
        sent.set_data_from_numpy(X, binary_data=binary)
        request = InferRequest(
            model_name="one",
            infer_inputs=[sent],
            request_outputs=[RequestedOutput("y", {"binary_data": binary})],
            request_id="k",
        )
        answer = await client.infer(url, request, model_name="one")
        assert answer.id == "k"
        output: InferOutput = answer.outputs[0]
        assert np.array_equal(output.as_numpy(), X), output


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
