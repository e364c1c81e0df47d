"""NVIDIA's client over HTTP: `python triton.py HOST:PORT TOKEN`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.arange(6, dtype=np.float32)
WORDS = np.array([[b"a", b"\xff\x00"]], dtype=np.object_)


def main(address: str, token: str) -> None:
    client = http.InferenceServerClient(address)
    check_health(client)
    check_inference(client)
    check_strings(client)
    check_compression(client)
    check_classification(client)
    check_statistics(client)
    check_repository(client, {"Authorization": f"Bearer {token}"})
    check_errors(client)


def check_health(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("one")
    assert client.is_model_ready("one", "1")
    assert not client.is_model_ready("nope")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("one")["inputs"][0]["datatype"] == "FP32"
    assert client.get_model_config("one")["backend"] == "tensorflow"


def tensor(name: str, array: Any, datatype: str, binary: bool = True) -> Any:
    sent = http.InferInput(name, list(array.shape), datatype)
    sent.set_data_from_numpy(array, binary_data=binary)
    return sent


def check_inference(client: Any) -> None:
    for binary_in in (True, False):
        for binary_out in (True, False, None):
            outputs = None
            if binary_out is not None:
                outputs = [http.InferRequestedOutput("y", binary_data=binary_out)]

            answer = client.infer(
                "one",
                [tensor("x", X, "FP32", binary_in)],
                outputs=outputs,
                request_id="7",
                timeout=20_000_000,
                parameters={"mine": "1"},
            )
            assert np.array_equal(answer.as_numpy("y"), X)
            assert answer.get_response()["id"] == "7"

    waiting = [client.async_infer("one", [tensor("x", X, "FP32")]) for _ in range(5)]
    assert all(np.array_equal(each.get_result().as_numpy("y"), X) for each in waiting)


def check_strings(client: Any) -> None:
    answer = client.infer("words", [tensor("words", WORDS, "BYTES")])
    assert answer.as_numpy("words_out").tolist() == WORDS.tolist()
    text = np.array([["é", "b"]], dtype=np.object_)
    answer = client.infer(
        "words",
        [tensor("words", text, "BYTES", binary=False)],
        outputs=[http.InferRequestedOutput("words_out", binary_data=False)],
    )
    assert answer.as_numpy("words_out").tolist() == [["é", "b"]]


def check_compression(client: Any) -> None:
    long = np.zeros(5000, np.float32)

    for coding in ("gzip", "deflate"):
        answer = client.infer(
            "one",
            [tensor("x", long, "FP32")],
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
        assert np.array_equal(answer.as_numpy("y"), long)


def check_classification(client: Any) -> None:
    wanted = [http.InferRequestedOutput("y", class_count=2)]
    answer = client.infer("one", [tensor("x", X, "FP32")], outputs=wanted)
    assert answer.as_numpy("y").tolist() == [b"5.000000:5", b"4.000000:4"]


def check_statistics(client: Any) -> None:
    [found] = client.get_inference_statistics("one")["model_stats"]
    assert found["inference_stats"]["success"]["count"] > 0
    assert client.get_inference_statistics()["model_stats"]


def check_repository(client: Any, headers: dict[str, str]) -> None:
    client.unload_model("spare", headers=headers)
    states = {m["name"]: m["state"] for m in client.get_model_repository_index()}
    assert states["spare"] == "UNAVAILABLE"
    assert not client.is_model_ready("spare")
    client.load_model("spare", headers=headers)
    assert client.is_model_ready("spare")


def check_errors(client: Any) -> None:
    acts: list[Callable[[], object]] = [
        lambda: client.infer("nope", [tensor("x", X, "FP32")]),
        lambda: client.infer("one", [tensor("x", X.astype(np.int32), "INT32")]),
        lambda: client.load_model("spare"),
    ]
    for act in acts:
        try:
            act()
        except InferenceServerException as exc:
            assert exc.message(), exc
        else:
            raise AssertionError("no error")


if __name__ == "__main__":
    main(*sys.argv[1:])
