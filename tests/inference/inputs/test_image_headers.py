from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inference.errors import InputMismatch
from inference.inputs.image_headers import read_header

PIXELS = np.random.default_rng(1).integers(0, 256, (30, 50, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
OTHER = Image.fromarray(PIXELS[::-1])


def encode(kind: str, picture: Image.Image = PICTURE, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


WITH_ALPHA = PICTURE.convert("RGBA")
FRAMES: dict[str, Any] = {"save_all": True, "append_images": [OTHER]}

READ = {
    "JPEG": encode("JPEG"),
    "progressive JPEG": encode("JPEG", progressive=True),
    "JPEG with a profile": encode("JPEG", icc_profile=b"\xff\xc0" * 100_000),
    "CMYK JPEG": encode("JPEG", PICTURE.convert("CMYK")),
    "JPEG with fill bytes": encode("JPEG").replace(b"\xff\xc0", b"\xff\xff\xff\xc0"),
    "PNG": encode("PNG"),
    "animated PNG": encode("PNG", **FRAMES),
    "GIF": encode("GIF"),
    "animated GIF": encode("GIF", **FRAMES),
    "BMP": encode("BMP"),
    "BMP with alpha": encode("BMP", WITH_ALPHA),
    "grey BMP": encode("BMP", PICTURE.convert("L")),
    "WebP": encode("WEBP"),
    "lossless WebP": encode("WEBP", lossless=True),
    "WebP with alpha": encode("WEBP", WITH_ALPHA, exif=b"Exif\0\0"),
}


def upside_down(bmp: bytes) -> bytes:
    return bmp[:22] + struct.pack("<i", -30) + bmp[26:]


@pytest.mark.parametrize("name", READ)
def test_format_and_size_are_read(name: str) -> None:
    header = read_header(READ[name])

    assert header.format.upper() in name.upper()
    assert (header.width, header.height) == (50, 30)


def test_height_of_a_bmp_from_top_to_bottom_is_positive() -> None:
    assert read_header(upside_down(READ["BMP"])).height == 30


def test_a_gif_ends_with_its_first_frame() -> None:
    data = READ["animated GIF"]
    end = read_header(data).end

    with Image.open(io.BytesIO(data[:end] + b";")) as first:
        assert getattr(first, "n_frames", 1) == 1
        assert first.size == (50, 30)


def test_a_frame_larger_than_its_gifs_screen_counts() -> None:
    data = bytearray(READ["GIF"])
    start = data.index(b",\0\0\0\0" + struct.pack("<HH", 50, 30))
    data[start + 5 : start + 9] = struct.pack("<HH", 60_000, 60_000)

    assert read_header(bytes(data)).width == 60_000


def test_a_frame_that_does_not_fill_its_gif_is_refused() -> None:
    wider = READ["GIF"][:6] + struct.pack("<HH", 80, 60) + READ["GIF"][10:]

    with pytest.raises(InputMismatch, match="doesn't fill the picture"):
        read_header(wider)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"hello, world", "send a JPEG, PNG", id="text"),
        pytest.param(b"", "send a JPEG, PNG", id="nothing"),
        pytest.param(encode("TIFF"), "send a JPEG, PNG", id="TIFF"),
        pytest.param(READ["JPEG"][:30], "cut short", id="cut JPEG"),
        pytest.param(READ["PNG"][:20], "cut short", id="cut PNG"),
        pytest.param(READ["GIF"][:400], "cut short", id="cut GIF"),
        pytest.param(READ["BMP"][:20], "cut short", id="cut BMP"),
        pytest.param(READ["WebP"][:20], "cut short", id="cut WebP"),
        pytest.param(
            b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "past its first bytes", id="no IHDR"
        ),
        pytest.param(
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 8, "0 × 0", id="no pixels"
        ),
        pytest.param(b"\xff\xd8\xff\xda\0\0", "its size", id="JPEG without a size"),
        pytest.param(
            b"\xff\xd8" + b"\xff\xe0\0\2" * 5000, "its size", id="endless segments"
        ),
        pytest.param(b"RIFF\0\0\0\0WAVEfmt ", "another kind", id="WAV"),
        pytest.param(encode("WEBP", **FRAMES), "animated WebP", id="animated WebP"),
        pytest.param(
            encode("BMP", PICTURE.convert("P")), "Send it as PNG", id="palette BMP"
        ),
        pytest.param(
            encode("BMP", PICTURE.convert("1")), "Send it as PNG", id="1 bit BMP"
        ),
    ],
)
def test_other_files_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputMismatch, match=reason):
        read_header(data)
