from __future__ import annotations

import json

from benchmarks.harness.wide import answers, exchanges, rows, weights_bytes


def test_a_request_has_a_row_and_knows_its_answer() -> None:
    found = exchanges("m", 8, seed=3)
    wanted = answers(8, seed=3)

    for exchange, row, answer in zip(found, rows(), wanted, strict=True):
        head, _, body = exchange.request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/models/m:predict ")
        assert [round(float(value), 4) for value in row] == (
            json.loads(body)["instances"][0]
        )
        assert exchange.right(b'{"predictions": [[%.8f]]}' % answer[0])
        assert not exchange.right(b'{"predictions": [[%.8f]]}' % (answer[0] + 1))


def test_each_seed_answers_otherwise() -> None:
    assert abs(answers(8, seed=1) - answers(8, seed=2)).max() > 0.01


def test_the_widest_layer_is_the_size_of_a_model() -> None:
    assert weights_bytes(5000) == 100_000_000
