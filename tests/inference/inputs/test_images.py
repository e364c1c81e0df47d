from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from inference.errors import InputMismatch, InvalidSidecar
from inference.inputs.binding import bind
from inference.inputs.images import (
    PRESETS,
    check_preprocessing,
    layout_of,
    nearest,
    read_preprocessing,
)
from inference.repository.sidecar import Sidecar
from tests.support.specs import signature, spec

PHOTO = spec("photo", shape=(None, 32, 48, 3))


def preprocessing(**table: Any) -> Any:
    return read_preprocessing(Sidecar(preprocess=table).preprocess)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "dtype", "layout"),
    [
        pytest.param((None, 32, 48, 3), "float32", (32, 48, 3, False), id="usual"),
        pytest.param((1, 28, 28, 1), "uint8", (28, 28, 1, False), id="grey"),
        pytest.param((None, 3, 32, 48), "float16", (32, 48, 3, True), id="first"),
        pytest.param((None,) * 4, "bfloat16", (None, None, 3, False), id="open"),
        pytest.param((None, 3, 32, 3), "float64", (3, 32, 3, False), id="ambiguous"),
    ],
)
def test_layout_of_images(shape: Any, dtype: str, layout: Any) -> None:
    found = layout_of(spec("x", dtype, shape))

    assert found is not None
    assert layout == (found.height, found.width, found.channels, found.channels_first)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        pytest.param((None, 32, 32, 4), "float32", id="four channels"),
        pytest.param((None, 32, 32), "float32", id="three axes"),
        pytest.param(None, "float32", id="unknown rank"),
        pytest.param((None, 32, 32, 3), "int32", id="int32"),
        pytest.param((None, 32, 32, 3), "string", id="string"),
    ],
)
def test_other_inputs_take_no_images(shape: Any, dtype: str) -> None:
    assert layout_of(spec("x", dtype, shape)) is None


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([b"one", b"two"], id="list"),
        pytest.param(np.array([b"one", b"two"], object), id="array"),
        pytest.param(np.array([[b"one"], [b"two"]], object), id="column"),
    ],
)
@pytest.mark.parametrize("name", ["", "photo"])
def test_files_are_bound_as_they_are(value: Any, name: str) -> None:
    bound = bind(signature(PHOTO), {name: value})["photo"]

    assert bound.tolist() == [b"one", b"two"]
    # Bound in a decoder process, they are bound once more in the server.
    assert bind(signature(PHOTO), {"photo": bound})["photo"].tolist() == bound.tolist()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param([b"one", "two"], "something else at item 1", id="text beside"),
        pytest.param([b"one", [0.5]], "something else at item 1", id="numbers beside"),
        pytest.param(["one"], "photo", id="text"),
        pytest.param([[b"one"]], "photo", id="nested"),
        pytest.param(b"one", "photo", id="not in a list"),
    ],
)
def test_other_than_a_list_of_files_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(InputMismatch, match=reason):
        bind(signature(PHOTO), {"photo": value})


def test_number_of_files_is_held_to_a_fixed_batch() -> None:
    one = signature(spec("x", shape=(1, 8, 8, 3)))

    with pytest.raises(InputMismatch, match="wants a batch of 1, got 2 images"):
        bind(one, {"x": [b"a", b"b"]})


def test_files_for_other_inputs_are_refused() -> None:
    with pytest.raises(InputMismatch, match="'x'"):
        bind(signature(spec("x", shape=(None, 4))), {"x": [b"a"]})


def test_strings_stay_strings() -> None:
    encoded = signature(spec("x", "string", (None,)))

    assert bind(encoded, {"x": [b"a"]})["x"].tolist() == [b"a"]


@pytest.mark.parametrize("have", [(480, 640), (64, 64), (301, 157), (7, 1000), (1, 1)])
@pytest.mark.parametrize("want", [(224, 224), (160, 37), (1, 1)])
def test_nearest_is_pillows(have: Any, want: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*have, 3), dtype=np.uint8)
    expected = Image.fromarray(pixels).resize(want[::-1], Image.Resampling.NEAREST)

    assert np.array_equal(nearest(pixels, want), np.asarray(expected))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        pytest.param({"preset": "lenet"}, "no 'lenet'; there are: convnext", id="no"),
        pytest.param({"size": (32, 32)}, "wants 32 × 48", id="another size"),
        pytest.param({"scale": 2.0}, "uint8", id="scale of uint8"),
        pytest.param({"preset": "vgg16"}, "uint8", id="preset of uint8"),
        pytest.param({"mean": (1.0, 2.0, 3.0)}, "uint8", id="mean of uint8"),
    ],
)
def test_preprocessing_that_fits_no_input_is_refused(table: Any, reason: str) -> None:
    pixels = spec("x", "uint8", (None, 32, 48, 3))

    with pytest.raises(InvalidSidecar, match=reason):
        check_preprocessing(preprocessing(**table), [signature(pixels)])


def test_preprocessing_needs_an_input_of_images() -> None:
    with pytest.raises(InvalidSidecar, match="no input that images fit"):
        check_preprocessing(preprocessing(scale=2.0), [signature(spec("x"))])


def test_values_of_a_channel_need_as_many_channels() -> None:
    grey = signature(spec("x", shape=(None, 8, 8, 1)))

    with pytest.raises(InvalidSidecar, match="1 value"):
        check_preprocessing(preprocessing(preset="vgg16"), [grey])


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        pytest.param({"preset": "vgg16", "scale": 2.0}, "excludes scale", id="both"),
        pytest.param({"std": [1.0, 0.0, 1.0]}, "must not be 0", id="division"),
        pytest.param({"mean": [1.0, 2.0]}, "3 channels", id="two means"),
        pytest.param({"scale": float("inf")}, "finite", id="infinite"),
        pytest.param({"size": 0}, "greater than or equal to 1", id="no size"),
        pytest.param({"size": [1, 2, 3]}, "at most 2", id="three sides"),
        pytest.param({"resize": "area"}, "'bilinear'", id="method"),
        pytest.param({"color": "rgb"}, "Extra inputs", id="unknown key"),
    ],
)
def test_wrong_tables_are_refused(table: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        preprocessing(**table)


def test_presets_are_read() -> None:
    assert [preprocessing(preset=name, size=8).size for name in PRESETS] == [
        (8, 8)
    ] * len(PRESETS)
