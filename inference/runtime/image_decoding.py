"""Decoding of a request's images to rows, before they join a batch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from inference.dtypes import numpy_dtype
from inference.errors import DeadlineExceeded, InputMismatch
from inference.inputs.image_headers import read_header
from inference.inputs.images import (
    MAX_DECODED_BYTES,
    is_encoded,
    layout_of,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.inputs.images import ImageLayout, Preprocessing
    from inference.types import Array, Signature, TensorSpec


def has_images(signature: Signature, inputs: Mapping[str, Array]) -> bool:
    """Return whether some of the bound inputs are images that are still encoded."""
    return any(is_encoded(signature.inputs[name], a) for name, a in inputs.items())


def decode_images(
    signature: Signature,
    inputs: Mapping[str, Array],
    preprocessing: Preprocessing,
    deadline: float,
) -> dict[str, Array]:
    """Return the bound inputs with rows of numbers in the place of encoded images.

    Blocks; any thread may call it. Raise `InputMismatch` for an image that can't be
    decoded, and `DeadlineExceeded` between two images past `deadline`, by
    `time.monotonic`.
    """
    return {
        name: _rows(signature.inputs[name], array, preprocessing, deadline)
        if is_encoded(signature.inputs[name], array)
        else array
        for name, array in inputs.items()
    }


def _rows(
    spec: TensorSpec, files: Array, preprocessing: Preprocessing, deadline: float
) -> Array:
    layout = layout_of(spec)
    assert layout is not None, "bound only where images fit"
    problem = layout.problem(preprocessing)

    if problem is not None:
        raise InputMismatch(f"images can't be preprocessed: {problem}")

    rows: Array | None = None

    for index, file in enumerate(files.tolist()):
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                "The request's time is over: its images were still being decoded."
            )

        try:
            row = _row(layout, file, preprocessing)
            rows = _room(layout, row, len(files)) if rows is None else rows
            _check_size(rows, row)
        except InputMismatch as exc:
            raise InputMismatch(f"image {index} of input '{spec.name}': {exc}") from exc

        rows[index] = row

    assert rows is not None, "no list of images is empty"
    return rows


def _row(layout: ImageLayout, file: bytes, preprocessing: Preprocessing) -> Array:
    from inference.runtime.image_kernels import decode, resize

    header = read_header(file)

    if header.width * header.height > preprocessing.max_pixels:
        raise InputMismatch(
            f"it has {header.width} × {header.height} pixels, and at most"
            f" {preprocessing.max_pixels:,} are decoded: send a smaller one, or raise"
            " max_pixels of [preprocess] in the model's sidecar"
        )

    # Of a GIF all frames would be decoded, whatever their number.
    data = file if header.end is None else file[: header.end] + b";"
    pixels = decode(data, jpeg=header.format == "JPEG")
    size = layout.size(preprocessing, pixels.shape[:2])

    if size == pixels.shape[:2]:
        return layout.row(pixels, preprocessing)

    if preprocessing.resize == "nearest":
        return layout.row(nearest(pixels, size), preprocessing)

    method, antialias = preprocessing.resize, preprocessing.antialias
    resized = resize(pixels, size, method=method, antialias=antialias)

    # Whole numbers again, for the exact greys.
    if antialias:
        resized = resized.astype(np.uint8)

    return layout.row(resized, preprocessing)


def _room(layout: ImageLayout, row: Array, count: int) -> Array:
    if row.nbytes * count > MAX_DECODED_BYTES:
        raise InputMismatch(
            f"{count} images of {row.nbytes:,} bytes each, decoded, are more than the"
            f" {MAX_DECODED_BYTES:,} bytes of a request: send them in several"
        )

    return np.empty((count, *row.shape), numpy_dtype(layout.dtype))


def _check_size(rows: Array, row: Array) -> None:
    if rows.shape[1:] != row.shape:
        raise InputMismatch(
            f"decoded, it has shape {list(row.shape)}, and those before it"
            f" {list(rows.shape[1:])}: send images of one size, or give a size in"
            " [preprocess] of the model's sidecar"
        )
