"""Generated image and sound files, for graphs that decode them."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from inference.types import Array

SIDES = (64, 300)
_TILES = 8
_GREYS = 127
# GIF codes of one byte: 128 colours, and the clear and end codes.
_CLEAR, _END = 0x80, 0x81


def picture(side: int, seed: int) -> Array:
    """Return random coloured tiles as RGB, `side` × `side` × 3."""
    colours = np.random.default_rng(seed).integers(0, 256, (_TILES, _TILES, 3))
    tiled = np.repeat(np.repeat(colours, -(-side // _TILES), 0), -(-side // _TILES), 1)
    return tiled[:side, :side].astype(np.uint8)


def png(pixels: Array) -> bytes:
    height, width, _ = pixels.shape
    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def bmp(pixels: Array) -> bytes:
    height, width, _ = pixels.shape
    # Rows run from bottom to top and are padded to 4 bytes.
    padding = b"\0" * (-3 * width % 4)
    body = b"".join(row[:, ::-1].tobytes() + padding for row in pixels[::-1])
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + body


def gif(pixels: Array) -> bytes:
    """Encode the first channel in greys, uncompressed."""
    height, width, _ = pixels.shape
    greys = (pixels[:, :, 0] // 2).clip(0, _GREYS).tobytes()
    size = _GREYS - 1
    parts = [greys[at : at + size] for at in range(0, len(greys), size)]
    # Clearing the code table before it grows leaves each code a byte long.
    codes = b"".join(bytes([_CLEAR]) + part for part in parts) + bytes([_END])
    blocks = [codes[at : at + 255] for at in range(0, len(codes), 255)]
    palette = b"".join(bytes([2 * grey] * 3) for grey in range(_GREYS + 1))
    screen = struct.pack("<HHBBB", width, height, 0xF6, 0, 0)
    place = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0)
    data = b"".join(bytes([len(block)]) + block for block in blocks)
    return b"GIF89a" + screen + palette + place + b"\x07" + data + b"\x00;"


def wav(count: int, seed: int) -> bytes:
    """Encode `count` random 16-bit samples, at 16 kHz."""
    heights = np.random.default_rng(seed).integers(-8192, 8192, count, dtype=np.int16)
    file = io.BytesIO()

    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 16000, count, "NONE", "not compressed"))
        sound.writeframes(heights.astype("<i2").tobytes())

    return file.getvalue()
