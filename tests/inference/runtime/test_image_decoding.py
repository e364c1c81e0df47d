"""Images as rows, compared with Keras' own loading, which is Pillow's."""

from __future__ import annotations

import importlib
import io
import pkgutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from inference.errors import DeadlineExceeded, InputMismatch
from inference.inputs.binding import bind
from inference.inputs.images import PLAIN, PRESETS, Preprocessing, read_preprocessing
from inference.repository.scan import ModelFiles
from inference.repository.sidecar import PreprocessTable
from inference.runtime.image_decoding import decode_images
from inference.types import ModelId
from tests.support.pictures import encoded, picture
from tests.support.shelf import prepared
from tests.support.specs import signature, spec

JPEG = encoded("JPEG")
SIZE = (160, 120)
ORIENTATION = 0x0112


def rows(
    *files: bytes, how: Preprocessing = PLAIN, dtype: str = "float32", shape: Any = None
) -> Any:
    taking = signature(spec("x", dtype, shape or (None, None, None, 3)))
    bound = bind(taking, {"x": list(files)})
    return decode_images(taking, bound, how, np.inf)["x"]


def table(**keys: Any) -> Preprocessing:
    return read_preprocessing(PreprocessTable(**keys))


def loaded(file: bytes, **options: Any) -> Any:
    return keras.utils.img_to_array(
        keras.utils.load_img(io.BytesIO(file), **options), dtype="float32"
    )


def modules() -> list[str]:
    """List the modules of `keras.applications` that preprocess."""
    found = pkgutil.iter_modules(keras.applications.__path__)
    return sorted(
        module.name
        for module in found
        if module.name != "imagenet_utils"
        and hasattr(
            importlib.import_module(f"keras.applications.{module.name}"),
            "preprocess_input",
        )
    )


def test_presets_are_those_of_keras() -> None:
    assert sorted(PRESETS) == modules()


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_rows_equal_keras_own(preset: str) -> None:
    module = importlib.import_module(f"keras.applications.{preset}")
    expected = module.preprocess_input(loaded(JPEG, target_size=SIZE)[None])

    found = rows(JPEG, how=table(preset=preset), shape=(None, *SIZE, 3))

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def turned() -> bytes:
    """Return Exif data of a camera that was held upright."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif.tobytes()


FILES = {
    "JPEG": JPEG,
    "progressive JPEG": encoded("JPEG", progressive=True),
    "JPEG 4:4:4": encoded("JPEG", subsampling=0),
    "grey JPEG": encoded("JPEG", picture().convert("L")),
    "CMYK JPEG": encoded("JPEG", picture().convert("CMYK")),
    "turned JPEG": encoded(
        "JPEG",
        exif=turned(),
    ),
    "PNG": encoded("PNG"),
    "PNG with alpha": encoded("PNG", picture().convert("RGBA")),
    "grey PNG with alpha": encoded("PNG", picture().convert("LA")),
    "palette PNG": encoded("PNG", picture().convert("P"), transparency=0),
    "1 bit PNG": encoded("PNG", picture().convert("1")),
    "animated PNG": encoded(
        "PNG", save_all=True, append_images=[picture().rotate(180)]
    ),
    "BMP": encoded("BMP"),
    "BMP with alpha": encoded("BMP", picture().convert("RGBA")),
    "grey BMP": encoded("BMP", picture().convert("L")),
    "GIF": encoded("GIF"),
    "animated GIF": encoded(
        "GIF", save_all=True, append_images=[picture().rotate(180)]
    ),
    "WebP": encoded("WEBP"),
    "lossless WebP": encoded("WEBP", lossless=True),
    "WebP with alpha": encoded("WEBP", picture().convert("RGBA")),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_equal_keras_own(name: str) -> None:
    assert np.array_equal(rows(FILES[name])[0], loaded(FILES[name]))


def test_pixels_of_16_bits_keep_their_high_byte() -> None:
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    found = rows(encoded("PNG", Image.fromarray(deep)))

    assert np.array_equal(found[0, ..., 0], deep >> 8)


def test_a_bmp_from_top_to_bottom_is_decoded() -> None:
    bmp = encoded("BMP")
    turned = bmp[:22] + (-240).to_bytes(4, "little", signed=True) + bmp[26:]

    assert np.array_equal(rows(turned)[0], loaded(turned))


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(64, 48), (300, 500)], ids=str)
def test_resized_pixels_equal_keras_own(method: str, size: Any) -> None:
    found = rows(JPEG, how=table(size=size, resize=method))
    expected = loaded(JPEG, target_size=size, interpolation=method)

    # Pillow rounds twice, to whole numbers: after its columns and after its rows.
    difference = np.abs(found[0] - expected)
    assert difference.max() <= (0 if method == "nearest" else 1)
    assert difference.mean() < 0.2


def test_without_antialias_pixels_equal_keras_layers() -> None:
    found = rows(JPEG, how=table(size=64, resize="bilinear", antialias=False))
    expected = keras.layers.Resizing(64, 64)(loaded(JPEG))

    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-3)


def test_grey_inputs_get_keras_greys() -> None:
    found = rows(JPEG, shape=(None, 28, 28, 1))
    expected = loaded(JPEG, target_size=(28, 28), color_mode="grayscale")

    # Keras makes it grey first, which is the same for each pixel taken.
    assert np.array_equal(found[0], expected)


def test_channels_may_come_first() -> None:
    first = rows(JPEG, shape=(None, 3, 240, 320))

    assert np.array_equal(first.transpose(0, 2, 3, 1), rows(JPEG))


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16", "float64"])
def test_rows_have_the_inputs_dtype(dtype: str) -> None:
    found = rows(JPEG, dtype=dtype)

    assert found.dtype.name == dtype
    assert np.abs(found.astype(np.float32) - rows(JPEG)).max() <= 1


def test_own_values_are_scaled_then_moved_then_divided() -> None:
    how = table(channels="bgr", scale=0.5, mean=[1, 2, 3], std=[2, 4, 8])
    expected = (loaded(JPEG)[..., ::-1] * 0.5 - [1, 2, 3]) / [2, 4, 8]

    np.testing.assert_allclose(rows(JPEG, how=how)[0], expected, atol=1e-4)


def test_several_images_are_rows_in_order() -> None:
    both = rows(JPEG, FILES["PNG"])

    assert np.array_equal(both[0], rows(JPEG)[0])
    assert np.array_equal(both[1], rows(FILES["PNG"])[0])


@pytest.mark.parametrize(
    ("files", "how", "reason"),
    [
        pytest.param([JPEG, b"no"], PLAIN, "image 1 of input 'x'.*b'no'", id="text"),
        pytest.param([JPEG[:400]], PLAIN, "can't be decoded", id="cut JPEG"),
        pytest.param([FILES["PNG"][:400]], PLAIN, "can't be decoded", id="cut PNG"),
        pytest.param(
            [JPEG],
            table(max_pixels=1000),
            "320 × 240 pixels.*1,000.*max_pixels",
            id="too many pixels",
        ),
        pytest.param(
            [JPEG, encoded("PNG", picture(8, 8))],
            PLAIN,
            "image 1.*one size",
            id="two sizes",
        ),
        pytest.param(
            [JPEG] * 3, table(size=8192), "3 images.*in several", id="too many rows"
        ),
    ],
)
def test_wrong_images_are_refused(files: Any, how: Any, reason: str) -> None:
    with pytest.raises(InputMismatch, match=reason):
        rows(*files, how=how)


def test_images_past_the_deadline_are_not_decoded() -> None:
    taking = signature(spec("x", shape=(None, None, None, 3)))
    bound = bind(taking, {"x": [JPEG]})

    with pytest.raises(DeadlineExceeded, match="being decoded"):
        decode_images(taking, bound, PLAIN, time.monotonic() - 1)


def test_rows_of_numbers_are_left_as_they_are() -> None:
    taking = signature(spec("x", shape=(None, 2, 2, 3)), spec("y", shape=(None,)))
    numbers = np.zeros(1, np.float32)
    bound = bind(taking, {"x": [JPEG], "y": numbers})

    assert decode_images(taking, bound, PLAIN, np.inf)["y"] is numbers


def test_a_version_preprocessed_otherwise_is_loaded_anew() -> None:
    """Answers kept for one aren't given for the other."""
    files = ModelFiles(id=ModelId("pixels", 1), path=Path("pixels.pb"))
    plain = prepared(files)
    scaled = replace(plain, preprocessing=table(scale=2.0))

    assert plain.same_as(replace(plain))
    assert not plain.same_as(scaled)
    assert plain.digest != scaled.digest
