from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.dtypes import numpy_dtype
from inference.inputs.hints import Hint, Hints
from inference.inputs.samples import (
    MOST_CANDIDATES,
    MOST_VALUES,
    GeneratedSample,
    Guess,
    candidates,
)
from tests.support.specs import signature, spec

NUMBERS = ["float32", "float16", "bfloat16", "float64", "int8", "int64", "uint8"]
KINDS = [*NUMBERS, "bool", "complex64"]


def drawn(*specs: Any, rows: int = 4, seed: int = 0, **assumed: Any) -> dict[str, Any]:
    made = GeneratedSample(signature=signature(*specs), guess=Guess(**assumed))
    return made.draw(rows, seed)


def hinted(one: Any, hint: Hint) -> list[Any]:
    """Return the values of each candidate for one input."""
    hints = Hints(inputs={one.name: hint})
    made = candidates(signature(one), hints=hints)
    return [each.draw(8, 0)[one.name] for each in made]


@pytest.mark.parametrize("kind", [*KINDS, "string"])
def test_rows_of_every_dtype(kind: str) -> None:
    x = drawn(spec("x", kind, (None, 3)))["x"]

    assert x.shape == (4, 3)
    assert x.dtype == numpy_dtype(kind)
    assert len(set(x.ravel().tolist())) > 1


@pytest.mark.parametrize("kind", [*KINDS, "string"])
def test_another_seed_gives_other_rows(kind: str) -> None:
    first, again, other = (
        drawn(spec("x", kind, (None, 8)), seed=seed)["x"] for seed in (0, 0, 1)
    )

    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


@pytest.mark.parametrize("kind", ["int8", "int64", "bool"])
def test_integers_are_small_enough_for_an_index(kind: str) -> None:
    x = drawn(spec("x", kind, (None, 99)))["x"]

    assert set(x.ravel().tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("shape", "assumed", "wanted"),
    [
        ((), {}, ()),
        ((None,), {}, (2,)),
        ((None, None, 3), {"size": 224}, (2, 224, 3)),
        ((5, None), {"size": 7}, (5, 7)),
        (None, {"trailing": None}, ()),
        (None, {"trailing": ()}, (2,)),
        (None, {"trailing": (28, 28, 1)}, (2, 28, 28, 1)),
    ],
)
def test_open_dimensions_are_filled_by_the_guess(
    shape: Any, assumed: Any, wanted: tuple[int, ...]
) -> None:
    assert drawn(spec("x", shape=shape), rows=2, **assumed)["x"].shape == wanted


def test_an_optional_input_gets_its_default() -> None:
    off = np.array(False)

    assert drawn(spec("x"), spec("training", "bool", (), off))["training"] is off


def guesses(*specs: Any) -> list[Guess]:
    return [each.guess for each in candidates(signature(*specs))]


def test_likely_assumptions_come_first_and_one_rare_one_before_two() -> None:
    found = guesses(spec("x", shape=(None, None)))

    assert list(dict.fromkeys(each.size for each in found))[:4] == [16, 1, 64, 224]
    assert found.index(Guess(size=12_288)) < found.index(Guess(size=1024, floats=2))
    assert found.index(Guess(rows=1)) < found.index(Guess(size=1, rows=1))


def test_only_open_dimensions_are_guessed() -> None:
    closed, flag = spec("x", "bool", (5, 3)), np.array(False)

    assert guesses(closed) == [Guess()]
    assert guesses(closed, spec("t", "bool", None, flag)) == [Guess()]
    assert {each.size for each in guesses(spec("x", shape=(None, 3)))} == {16}


def test_candidates_are_bounded() -> None:
    many = [spec("x"), spec("s", "string"), spec("i", "int32", (None, None))]

    assert len(guesses(*many)) == MOST_CANDIDATES


@pytest.mark.parametrize(
    ("shape", "largest"),
    [
        pytest.param((None, None), 48_000, id="a sound"),
        pytest.param((None, None, 4), 48_000, id="letters of a genome"),
        pytest.param((None, None, None, 3), 1024, id="a picture"),
        pytest.param((None, None, None, None, 3), 224, id="a volume"),
    ],
)
def test_rare_sizes_are_tried_where_they_are_not_too_large(
    shape: Any, largest: int
) -> None:
    sizes = {each.size for each in guesses(spec("x", shape=shape))}

    assert max(sizes) == largest
    assert largest ** (len(shape) - 1 - (len(shape) > 2)) <= MOST_VALUES or (
        largest == 224
    )


def test_known_texts_come_first() -> None:
    one = signature(spec("x", "string", (None,)))
    first, *_ = candidates(one, [(b"red", b"green")])

    assert set(first.draw(9, 0)["x"].tolist()) == {b"red", b"green"}


def test_ids_are_of_the_whole_table_first_and_small_then() -> None:
    first, second, *_ = hinted(spec("x", "int64", (None, 50)), Hint(count=1000))

    assert len(np.unique(first)) > 250
    assert 900 < first.max() < 1000
    assert second.max() == 1


@pytest.mark.parametrize(("kind", "most"), [("int8", 127), ("uint8", 255)])
def test_ids_fit_their_dtype(kind: str, most: int) -> None:
    first, *_ = hinted(spec("x", kind, (None, 99)), Hint(count=1000))

    assert most - 10 < int(first.max()) <= most
    assert first.min() >= 0


@pytest.mark.parametrize(
    ("hint", "low", "high"),
    [
        (Hint(low=0, high=1), 0, 1),
        (Hint(low=5), 5, 7),
        (Hint(high=-3), -5, -3),
        (Hint(), 0, 1),
    ],
)
def test_numbers_in_the_hinted_range_come_second(
    hint: Hint, low: float, high: float
) -> None:
    first, second, *_ = hinted(spec("x", shape=(None, 99)), hint)

    assert first.min() < -1
    assert low <= second.min() < low + 0.1
    assert high - 0.1 < second.max() <= high


def test_lengths_are_no_longer_than_rows_of_the_same_open_length() -> None:
    both = signature(spec("x", shape=(None, None, 8)), spec("n", "int32", (None,)))
    first, *_ = candidates(both)
    made = first.draw(50, 0)

    assert made["n"].min() == 1
    assert made["n"].max() == made["x"].shape[1] == 16


def test_inputs_of_open_length_are_equally_long() -> None:
    names = ("ids", "mask", "segments")
    three = signature(*(spec(name, "int32", (None, None)) for name in names))

    for made in candidates(three):
        drawn_ = made.draw(2, 0)
        assert len({drawn_[name].shape for name in names}) == 1
