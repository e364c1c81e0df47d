"""Image files of every format, made by Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def picture(height: int = 240, width: int = 320) -> Image.Image:
    """Return a smooth picture with some noise, as photographs are."""
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 4, (height, width))
    colours = [
        128 + 100 * np.sin(rows / a) * np.cos(columns / b) + noise
        for a, b in ((23, 41), (37, 17), (11, 59))
    ]
    return Image.fromarray(np.stack(colours, -1).clip(0, 255).astype(np.uint8))


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """Return a file of Pillow's format `kind`."""
    file = io.BytesIO()
    (image or picture()).save(file, kind, **options)
    return file.getvalue()
