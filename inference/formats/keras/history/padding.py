"""Layers that pad as `same`, where Theano's padding differs from TensorFlow's.

Source: `_preprocess_padding` and `pool2d` of Keras 2.2.4's `theano_backend.py`. Outputs
have the same length with both backends; the padding in front decides the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.formats.keras.history.backend import CONVOLVE
from inference.formats.keras.vocabulary.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inference.formats.keras.history.origin import Origin

    Window = tuple[int, int, int | None]


def check_padding(layers: Iterable[Any], origin: Origin, name: str) -> None:
    """Raise `InvalidModel` for a layer whose outputs depend on Theano's padding.

    `layers` are all layers of the model, built, nested ones included.
    """
    if origin.backend not in CONVOLVE:
        return

    for layer in layers:
        pools = hasattr(layer, "pool_size")

        for size, stride, length in _windows(layer):
            if not agrees(size, stride, length, pools=pools):
                raise InvalidModel(_refusal(layer, size, stride, length, name))


def agrees(size: int, stride: int, length: int | None, *, pools: bool) -> bool:
    """Return whether both backends pad the front of an axis equally.

    `size` is the kernel's, widened by its dilation, or the pool's; `length` is the
    longer side's, `None` if it is open.
    """
    theano = _pool_front(size) if pools else size // 2

    # The padding repeats with the stride, so one period of lengths covers all.
    lengths = range(size, size + stride) if length is None else (length,)
    return all(theano == _tensorflow_front(size, stride, each) for each in lengths)


def _pool_front(size: int) -> int:
    return size - 2 if size > 2 and size % 2 else size - 1


def _tensorflow_front(size: int, stride: int, length: int) -> int:
    steps = -(-length // stride)
    return max((steps - 1) * stride + size - length, 0) // 2


def _windows(layer: Any) -> Iterator[Window]:
    """Yield the size, the stride and the length of each padded axis."""
    sizes = _each(getattr(layer, "kernel_size", getattr(layer, "pool_size", ())))

    if not sizes or hasattr(layer, "state_size"):
        # The layer of a cell has the same sizes, and the length too.
        return

    lengths = _lengths(layer, len(sizes))

    if getattr(layer, "padding", "") == "same":
        dilations = _each(getattr(layer, "dilation_rate", 1), len(sizes))
        strides = _each(layer.strides, len(sizes))
        wide = [(size - 1) * by + 1 for size, by in zip(sizes, dilations, strict=True)]
        yield from zip(wide, strides, lengths, strict=True)

    if type(layer).__name__.startswith("ConvLSTM"):
        # Its state is always convolved as `same`, with stride 1.
        yield from ((size, 1, None) for size in sizes)


def _lengths(layer: Any, axes: int) -> list[int | None]:
    shape = _shape(layer)

    if shape is None or len(shape) < axes + 2:
        return [None] * axes

    end = len(shape) if layer.data_format == "channels_first" else -1
    return list(shape[:end][-axes:])


def _shape(layer: Any) -> Any:
    """Return the output shape of a transposed layer, the input shape of others."""
    side = "output_shape" if "Transpose" in type(layer).__name__ else "input_shape"

    try:
        shape = getattr(layer, side)
    except (AttributeError, RuntimeError):
        # A layer inside a wrapper was called only there, and has no shape itself.
        return None

    return shape if isinstance(shape, tuple) else None


def _each(value: Any, axes: int = 1) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _refusal(layer: Any, size: int, stride: int, length: int | None, name: str) -> str:
    on = "an open length" if length is None else f"a length of {length}"
    return (
        f"{name}: layer '{shown(layer.name)}' ({type(layer).__name__}) pads as 'same' "
        f"with a window of {size} and a stride of {stride} on {on}. Theano, which "
        "trained it, padded in other places than TensorFlow does, so its outputs would "
        "differ. Build the model with a ZeroPadding layer in front of one that pads as "
        "'valid', which gives the old outputs, and save it with these weights."
    )
