"""Headers of encoded images: format and size, read before anything is decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.errors import InputMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

FORMATS = "JPEG, PNG, GIF, BMP or still WebP"

_MAX_SEGMENTS = 4096
"""Most segments of a JPEG before its size; colour profiles take a few dozen."""

_MAX_BLOCKS = 1 << 20
"""Most blocks of a GIF's first frame, of up to 255 bytes each."""

_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA
_NO_LENGTH = {0x01, *range(0xD0, 0xD8)}

_GIF_IMAGE, _GIF_EXTENSION = 0x2C, 0x21
_HAS_PALETTE = 0x80

_BMP_BITFIELDS = 3
_BGRX = (0x00FF0000, 0x0000FF00, 0x000000FF)
_WEBP_ANIMATED = 0x02


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """Format and size in pixels. `end` is where the first frame of a GIF ends."""

    format: str
    width: int
    height: int
    end: int | None = None


class _Unreadable(Exception):
    """The reason why an image isn't decoded."""


def read_header(data: bytes) -> ImageHeader:
    """Read the header of an image. Raise `InputMismatch` for other data.

    What TensorFlow decodes wrongly is refused, too.
    """
    reader = next((read for magic, read in _READERS if data.startswith(magic)), None)

    if reader is None:
        raise InputMismatch(f"it begins with {data[:8]!r}: send a {FORMATS}")

    try:
        header = reader(data)
    except (struct.error, IndexError):
        raise InputMismatch("it is cut short: its header isn't whole") from None
    except _Unreadable as exc:
        raise InputMismatch(str(exc)) from None

    if header.width < 1 or header.height < 1:
        raise InputMismatch(f"it is {header.width} × {header.height} pixels")

    return header


def _jpeg(data: bytes) -> ImageHeader:
    at = 2

    for _ in range(_MAX_SEGMENTS):
        if data[at] != 0xFF:
            raise _Unreadable("it isn't a JPEG past its first bytes")

        # Any number of fill bytes may come before a marker.
        while data[at] == 0xFF:
            at += 1

        marker = data[at]
        at += 1

        if marker in _JPEG_SIZES:
            _, _, height, width = struct.unpack_from(">HBHH", data, at)
            return ImageHeader(format="JPEG", width=width, height=height)

        if marker == _JPEG_SCAN:
            break

        if marker not in _NO_LENGTH:
            at += struct.unpack_from(">H", data, at)[0]

    raise _Unreadable("its size isn't where a JPEG has it")


def _png(data: bytes) -> ImageHeader:
    kind, width, height = struct.unpack_from(">4sII", data, 12)

    if kind != b"IHDR":
        raise _Unreadable("it isn't a PNG past its first bytes")

    return ImageHeader(format="PNG", width=width, height=height)


def _gif(data: bytes) -> ImageHeader:
    """Read the size of the first frame, which fills the screen, and its end."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _palette_bytes(flags)

    while data[at] == _GIF_EXTENSION:
        at = _skip_blocks(data, at + 2)

    if data[at] != _GIF_IMAGE:
        raise _Unreadable("it is a GIF without an image")

    left, top, own_width, own_height, flags = struct.unpack_from("<HHHHB", data, at + 1)

    # TensorFlow 2.21 gives the frame alone, other decoders the whole screen.
    if left or top or own_width < width or own_height < height:
        raise _Unreadable(
            "it is a GIF whose first frame doesn't fill the picture: send it as PNG"
        )

    end = _skip_blocks(data, at + 10 + _palette_bytes(flags) + 1)
    return ImageHeader(format="GIF", width=own_width, height=own_height, end=end)


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & _HAS_PALETTE else 0


def _skip_blocks(data: bytes, at: int) -> int:
    for _ in range(_MAX_BLOCKS):
        size = data[at]
        at += size + 1

        if not size:
            return at

    raise _Unreadable("its first frame has too many blocks")


def _bmp(data: bytes) -> ImageHeader:
    start, head, width, height, _, bits, packing = struct.unpack_from(
        "<IIiiHHI", data, 10
    )

    # TensorFlow 2.21 takes every BMP for plain rows of grey, BGR or BGRA.
    plain = packing == 0 and (
        bits in (24, 32) or (bits == 8 and _is_grey(data[14 + head : start]))
    )
    masked = packing == _BMP_BITFIELDS and bits == 32

    if head < 40 or not (plain or (masked and _masks(data) == _BGRX)):
        raise _Unreadable(
            f"it is a BMP of {bits} bits a pixel with a palette, or packed: only plain"
            " ones of 24 or 32 bits are decoded. Send it as PNG"
        )

    return ImageHeader(format="BMP", width=width, height=abs(height))


def _masks(data: bytes) -> tuple[int, ...]:
    return struct.unpack_from("<III", data, 54)


def _is_grey(palette: bytes) -> bool:
    return palette == b"".join(bytes([grey] * 3) + b"\0" for grey in range(256))


def _webp(data: bytes) -> ImageHeader:
    kind = data[12:16]

    if data[8:12] != b"WEBP":
        raise _Unreadable(f"it is a RIFF file of another kind: send a {FORMATS}")

    if kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        if data[20] & _WEBP_ANIMATED:
            raise _Unreadable("it is an animated WebP: send one of its frames")

        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    else:
        raise _Unreadable("it isn't a WebP past its first bytes")

    return ImageHeader(format="WebP", width=width, height=height)


_READERS: tuple[tuple[bytes, Callable[[bytes], ImageHeader]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"GIF87a", _gif),
    (b"GIF89a", _gif),
    (b"BM", _bmp),
    (b"RIFF", _webp),
)
