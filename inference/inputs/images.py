"""Encoded images as an input's rows: which inputs take them, and as what numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.dtypes import numpy_dtype
from inference.errors import InputMismatch, InvalidSidecar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from inference.repository.sidecar import PreprocessTable
    from inference.types import Array, Signature, TensorSpec

MAX_PIXELS = 1 << 25
"""Of an image, unless the sidecar says otherwise: 33 million."""

MAX_DECODED_BYTES = 1 << 29
"""Of a request's decoded rows: a tiny file may become a large one."""

RANK = 4
COLOURS = 3
_DTYPES = {"bfloat16", "float16", "float32", "float64", "uint8"}

# Pillow's weights of red, green and blue in a grey, in 65536ths.
_GREY = np.array([19595, 38470, 7471], np.uint32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """The numbers that a decoded image becomes: `(pixels * scale - mean) / std`.

    `size` is height and width, by default the input's own; `mean` and `std` are of
    each channel in the model's order. `resize` is a method of Pillow's names; without
    `antialias` it is that of Keras' layers, and values aren't rounded.
    """

    size: tuple[int, int] | None = None
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    reversed: bool = False
    resize: str = "nearest"
    antialias: bool = True
    max_pixels: int = MAX_PIXELS

    @property
    def changes_values(self) -> bool:
        return (self.scale, *self.mean, *self.std) != (1.0, 0.0, 1.0)


PLAIN = Preprocessing()

_NONE: Mapping[str, Any] = {}
_TF: Mapping[str, Any] = {"scale": 1 / 127.5, "mean": (1.0,)}
_CAFFE: Mapping[str, Any] = {"reversed": True, "mean": (103.939, 116.779, 123.68)}
_TORCH: Mapping[str, Any] = {
    "scale": 1 / 255,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "convnext": _NONE,
    "densenet": _TORCH,
    "efficientnet": _NONE,
    "efficientnet_v2": _NONE,
    "inception_resnet_v2": _TF,
    "inception_v3": _TF,
    "mobilenet": _TF,
    "mobilenet_v2": _TF,
    "mobilenet_v3": _NONE,
    "nasnet": _TF,
    "resnet": _CAFFE,
    "resnet50": _CAFFE,
    "resnet_v2": _TF,
    "vgg16": _CAFFE,
    "vgg19": _CAFFE,
    "xception": _TF,
}
"""The `preprocess_input` of each module of `keras.applications`."""


def read_preprocessing(table: PreprocessTable | None) -> Preprocessing:
    """Return what a sidecar's table asks for. Raise `InvalidSidecar`."""
    if table is None:
        return PLAIN

    values: dict[str, Any] = {
        name: getattr(table, name)
        for name in ("scale", "mean", "std", "size", "resize", "antialias")
        if name in table.model_fields_set
    }

    if "channels" in table.model_fields_set:
        values["reversed"] = table.channels == "bgr"

    if table.max_pixels is not None:
        values["max_pixels"] = table.max_pixels

    if table.preset is None:
        return Preprocessing(**values)

    if table.preset not in PRESETS:
        raise InvalidSidecar(
            f"'preprocess.preset': there is no {table.preset!r}; there are:"
            f" {', '.join(PRESETS)}."
        )

    return Preprocessing(**PRESETS[table.preset], **values)


def check_preprocessing(
    preprocessing: Preprocessing, signatures: Iterable[Signature]
) -> None:
    """Raise `InvalidSidecar` if images so processed fit none of the inputs."""
    if preprocessing == PLAIN:
        return

    found = [
        layout
        for signature in signatures
        for spec in signature.inputs.values()
        if (layout := layout_of(spec)) is not None
    ]

    if not found:
        raise InvalidSidecar(
            "'preprocess': the model has no input that images fit: one of rank 4,"
            " floats or uint8, with 1 or 3 channels."
        )

    problems = [layout.problem(preprocessing) for layout in found]

    if all(problems):
        raise InvalidSidecar(f"'preprocess': {problems[0]}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayout:
    """Images as an input of rank 4 takes them; sides that are open are `None`."""

    name: str
    dtype: str
    height: int | None
    width: int | None
    channels: int
    channels_first: bool

    def problem(self, preprocessing: Preprocessing) -> str | None:
        """Return why images so processed don't fit, if they don't."""
        size, own = preprocessing.size, (self.height, self.width)

        if size and any(a not in (b, None) for a, b in zip(own, size, strict=True)):
            return (
                f"its size is {size[0]} × {size[1]}, and input '{self.name}' wants"
                f" {_side(self.height)} × {_side(self.width)} (height × width)"
            )

        if self.dtype == "uint8" and preprocessing.changes_values:
            return f"input '{self.name}' is uint8, which takes pixels as they are"

        counts = {len(preprocessing.mean), len(preprocessing.std)} - {1}
        if counts - {self.channels}:
            return (
                f"mean and std must have 1 value, or {self.channels} as input"
                f" '{self.name}' has channels"
            )

        return None

    def size(self, preprocessing: Preprocessing, image: tuple[int, int]) -> Any:
        """Return height and width that an image of a size is resized to."""
        return preprocessing.size or (self.height or image[0], self.width or image[1])

    def row(self, pixels: Array, preprocessing: Preprocessing) -> Array:
        """Return resized pixels, `[height, width, 3]`, as a row of the input."""
        if self.channels == 1:
            pixels = _as_grey(pixels)
        elif preprocessing.reversed:
            pixels = pixels[..., ::-1]

        if self.dtype == "uint8":
            values = np.rint(pixels).clip(0, 255)
        else:
            values = _normalised(pixels, preprocessing)

        if self.channels_first:
            values = values.transpose(2, 0, 1)

        return values.astype(numpy_dtype(self.dtype), copy=False)


def layout_of(spec: TensorSpec) -> ImageLayout | None:
    """Return how an input takes images; `None` if it takes none."""
    shape = spec.shape

    if spec.dtype not in _DTYPES or shape is None or len(shape) != RANK:
        return None

    first = shape[3] not in (None, 1, COLOURS) and shape[1] in (1, COLOURS)
    height, width, channels = shape[1:] if not first else (*shape[2:], shape[1])

    if channels not in (None, 1, COLOURS):
        return None

    return ImageLayout(
        name=spec.name,
        dtype=spec.dtype,
        height=height,
        width=width,
        channels=channels or COLOURS,
        channels_first=first,
    )


def encoded_images(spec: TensorSpec, value: Any) -> Array | None:
    """Return a list of files as `bytes`, or an array of them, as an array `[N]`.

    `None` if it isn't one, or the input takes no images. Raise `InputMismatch` for a
    list of other things beside, or a number of rows that the input doesn't take.
    """
    files = _files(value)

    if files is None or layout_of(spec) is None:
        return None

    for index, file in enumerate(files):
        if type(file) is not bytes:
            raise InputMismatch(
                f"input '{spec.name}' got an image first, and something else at item"
                f' {index}: send each image as {{"b64": "..."}}'
            )

    rows = spec.shape[0] if spec.shape else None

    if rows not in (None, len(files)):
        raise InputMismatch(
            f"input '{spec.name}' wants a batch of {rows}, got {len(files)} images"
        )

    array = np.empty(len(files), object)
    array[:] = files
    return array


def _files(value: Any) -> list[Any] | None:
    if type(value) is list:
        return value if value and type(value[0]) is bytes else None

    if not isinstance(value, np.ndarray) or value.dtype.kind not in "OS":
        return None

    # tritonclient's users send one string a row as [N, 1].
    columns = value.ndim == 2 and value.shape[1] == 1
    if not value.size or not (value.ndim == 1 or columns):
        return None

    flat: list[Any] = value.ravel().tolist()
    return flat if type(flat[0]) is bytes else None


def is_encoded(spec: TensorSpec, array: Array) -> bool:
    """Return whether a bound input is images that are still encoded."""
    return array.dtype.kind == "O" and spec.dtype != "string"


def nearest(pixels: Array, size: tuple[int, int]) -> Array:
    """Return pixels resized as Pillow's `NEAREST` does, ties included."""
    rows, columns = map(_nearest, pixels.shape[:2], size)
    return pixels.take(rows, 0).take(columns, 1)


def _nearest(have: int, want: int) -> Array:
    step = have / want
    # Summed up one by one, as Pillow does: a product is rounded another way.
    places = np.cumsum(np.concatenate([[step / 2], np.full(want - 1, step)]))
    return places.astype(np.intp).clip(0, have - 1)


def _as_grey(pixels: Array) -> Array:
    if pixels.dtype == np.uint8:
        grey = (pixels.astype(np.uint32) @ _GREY + 0x8000) >> 16
    else:
        grey = pixels @ (_GREY / 65536).astype(np.float32)

    return grey[..., None]


def _normalised(pixels: Array, preprocessing: Preprocessing) -> Array:
    values = pixels.astype(np.float32)

    if not preprocessing.changes_values:
        return values

    values *= np.float32(preprocessing.scale)
    values -= np.array(preprocessing.mean, np.float32)
    values /= np.array(preprocessing.std, np.float32)
    return values


def _side(size: int | None) -> str:
    return "?" if size is None else str(size)
