"""TensorFlow's kernels that decode and resize images, for all models of a process."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import config_pb2, tf, tf1
from inference.errors import InputMismatch, first_line
from inference.inputs.images import COLOURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.types import Array

# TensorFlow's value for running operations in the calling thread.
_CALLER_THREAD = -1

_METHODS = {
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "lanczos3",
    "nearest": "nearest",
}


def decode(data: bytes, *, jpeg: bool) -> Array:
    """Return the pixels of one image, `[height, width, 3]` uint8.

    Any thread may call it. Raise `InputMismatch` for damaged files.
    """
    # Fed as they are, bytes would lose trailing zeros, which a WebP needs.
    fed = np.array(data, object)

    try:
        return _decoder(jpeg=jpeg)(fed)[0]  # type: ignore[no-any-return]
    except tf.errors.OpError as exc:
        raise InputMismatch(f"it can't be decoded: {first_line(exc)}") from exc


def resize(
    pixels: Array, size: tuple[int, int], *, method: str, antialias: bool
) -> Array:
    """Return resized pixels as float32, rounded if `antialias`.

    Rounded values are those of Pillow's method to a grey level, as its arithmetic is
    in whole numbers; others those of Keras' layers.
    """
    return _resizer(method, antialias=antialias)(pixels, np.array(size, np.int32))[0]  # type: ignore[no-any-return]


@cache
def _decoder(*, jpeg: bool) -> Callable[..., Any]:
    with tf.Graph().as_default() as graph:
        data = tf1.placeholder(tf.string, [])

        if jpeg:
            # The default is faster and not what other decoders give.
            pixels = tf.io.decode_jpeg(
                data, channels=COLOURS, dct_method="INTEGER_ACCURATE"
            )
        else:
            pixels = tf.io.decode_image(data, channels=COLOURS, expand_animations=False)

    return _callable(graph, [data], pixels)


@cache
def _resizer(method: str, *, antialias: bool) -> Callable[..., Any]:
    with tf.Graph().as_default() as graph:
        pixels = tf1.placeholder(tf.uint8, [None, None, COLOURS])
        size = tf1.placeholder(tf.int32, [2])
        resized = tf.image.resize(
            pixels, size, method=_METHODS[method], antialias=antialias
        )
        resized = tf.cast(resized, tf.float32)

        if antialias:
            resized = tf.clip_by_value(tf.floor(resized + 0.5), 0.0, 255.0)

    return _callable(graph, [pixels, size], resized)


def _callable(graph: Any, feeds: list[Any], fetch: Any) -> Callable[..., Any]:
    config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=1,
        inter_op_parallelism_threads=1,
        use_per_session_threads=True,
    )
    options = config_pb2.CallableOptions()
    options.feed.extend(feed.name for feed in feeds)
    options.fetch.append(fetch.name)
    options.run_options.inter_op_thread_pool = _CALLER_THREAD
    session = tf1.Session(graph=graph, config=config)
    return session._make_callable_from_options(options)  # type: ignore[no-any-return]
