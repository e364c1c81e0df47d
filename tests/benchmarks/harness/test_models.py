from __future__ import annotations

import json

from benchmarks.harness.models import Wide, wide_rows


def test_a_request_has_a_row_and_knows_its_answer() -> None:
    model = Wide(units=8, seed=3)
    found = zip(model.exchanges("m"), wide_rows(), model.answers(), strict=True)

    for exchange, row, answer in found:
        head, _, body = exchange.request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/models/m:predict ")
        assert [round(float(value), 6) for value in row] == (
            json.loads(body)["instances"][0]
        )
        assert exchange.right(b'{"predictions": [[%.8f]]}' % answer[0])
        assert not exchange.right(b'{"predictions": [[%.8f]]}' % (answer[0] + 1))


def test_each_seed_answers_otherwise() -> None:
    one, other = (Wide(units=8, seed=seed).answers() for seed in (1, 2))
    assert abs(one - other).max() > 0.01


def test_the_widest_layer_is_the_size_of_a_model() -> None:
    assert Wide(units=5000, seed=1).bytes == 100_000_000
