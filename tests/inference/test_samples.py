from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from inference.samples import Guess, guesses, numpy_dtype, sample
from tests.inference.specs import signature, spec

NUMBERS = ["float32", "float16", "bfloat16", "float64", "int8", "int64", "uint8"]
KINDS = [*NUMBERS, "bool", "complex64"]


@pytest.mark.parametrize("kind", [*KINDS, "string"])
def test_rows_of_every_dtype(kind: str) -> None:
    inputs = sample(signature(spec("x", kind, (None, 3))), Guess(), rows=4, seed=0)

    assert inputs["x"].shape == (4, 3)
    assert inputs["x"].dtype == numpy_dtype(kind)
    assert len(set(inputs["x"].ravel().tolist())) > 1


@pytest.mark.parametrize("kind", [*KINDS, "string"])
def test_another_seed_gives_other_rows(kind: str) -> None:
    one = signature(spec("x", kind, (None, 8)))
    first, again, other = (
        sample(one, Guess(), rows=4, seed=seed)["x"] for seed in (0, 0, 1)
    )

    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


@pytest.mark.parametrize("kind", ["int8", "int64", "bool"])
def test_integers_are_small_enough_for_an_index(kind: str) -> None:
    x = sample(signature(spec("x", kind, (None, 99))), Guess(), rows=4, seed=0)["x"]

    assert set(x.ravel().tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("shape", "guess", "wanted"),
    [
        ((), Guess(), ()),
        ((None,), Guess(), (2,)),
        ((None, None, 3), Guess(size=224), (2, 224, 3)),
        ((5, None), Guess(size=7), (5, 7)),
        (None, Guess(trailing=None), ()),
        (None, Guess(trailing=()), (2,)),
        (None, Guess(trailing=(28, 28, 1)), (2, 28, 28, 1)),
    ],
)
def test_shapes(shape: Any, guess: Guess, wanted: tuple[int, ...]) -> None:
    x = sample(signature(spec("x", shape=shape)), guess, rows=2, seed=0)["x"]

    assert x.shape == wanted


def test_an_optional_input_gets_its_default() -> None:
    off = np.array(False)
    both = signature(spec("x", shape=(None,)), spec("training", "bool", (), off))

    assert sample(both, Guess(), rows=2, seed=0)["training"] is off


def count(*specs: Any) -> int:
    return len(list(guesses(signature(*specs))))


def test_no_more_guesses_than_the_signature_leaves_open() -> None:
    closed, flag = spec("x", shape=(None, 3)), np.array(False)

    assert count(closed) == 1
    assert count(closed, spec("t", "bool", None, flag)) == 1
    assert count(spec("x", shape=(None, None))) == 4
    assert count(spec("x", shape=None)) == 6
    assert count(spec("x", "string", (None,))) == 5
    assert count(spec("x", "string", None)) == 30


def test_likely_guesses_come_first() -> None:
    found = list(guesses(signature(spec("x", shape=(None, None, None, 3)))))

    assert [guess.size for guess in found] == [16, 1, 64, 224]


def test_known_words_come_first() -> None:
    texts = signature(spec("x", "string", (None,)))
    first, *_ = guesses(texts, [(b"red", b"green")])

    assert first.strings[:2] == (b"red", b"green")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("float32", np.float32),
        ("bool", np.bool_),
        ("string", np.object_),
        ("bfloat16", ml_dtypes.bfloat16),
        ("float8_e5m2", ml_dtypes.float8_e5m2),
    ],
)
def test_numpys_dtypes(name: str, dtype: Any) -> None:
    assert numpy_dtype(name) == np.dtype(dtype)


def test_the_picture_among_the_strings_is_one() -> None:
    from inference.backend import tf

    texts = signature(spec("x", "string", (None,)))
    pictures = [
        text
        for guess in guesses(texts)
        for text in guess.strings
        if text.startswith(b"\x89PNG")
    ]

    assert [tf.io.decode_png(text).shape.as_list() for text in pictures] == [
        [8, 8, 3],
        [8, 8, 3],
    ]
