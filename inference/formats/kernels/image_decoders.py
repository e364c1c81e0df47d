"""Image decoders behind a check of the first bytes, so that none crashes the process.

TensorFlow 2.21 has one kernel for all of them
(tensorflow/core/kernels/image/decode_image_op.cc), and each accepts every format. With
an open number of channels, or a dtype other than uint8, it corrupts memory for some
valid images of some formats; the others are decoded as before.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from inference.formats.kernels.scopes import attribute
from inference.runtime.guards import UNSAFE_IMAGE

if TYPE_CHECKING:
    from inference.formats.kernels.scopes import Scope

DECODERS = {
    "DecodeAndCropJpeg",
    "DecodeBmp",
    "DecodeImage",
    "DecodeJpeg",
    "DecodeJxl",
    "DecodePng",
    "DecodeWebP",
}
"""Operations with an attribute for the number of channels; a GIF has three."""

_HEADER = 32
_START = "0"
_CHECKED = "checked"
_MAGIC = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "GIF": b"GIF8"}
_BMP = b"BM"
_OPEN = (
    f"{UNSAFE_IMAGE}it isn't a JPEG, PNG, GIF, BMP or still WebP, and the model "
    "leaves the number of channels open. Send one of these, or export the model with "
    "channels=3."
)
_DOWNWARDS = (
    f"{UNSAFE_IMAGE}it is a BMP whose rows run from top to bottom, which TensorFlow "
    "decodes to uint8 only. Send it from bottom to top, or as PNG."
)


def is_unguarded(node: Any) -> bool:
    return node.op in DECODERS and (_is_open(node) or _is_wide(node))


def guard_decoders(scope: Scope) -> int:
    """Put a check before each decoder that needs one; return their number."""
    decoders = [node for node in scope.nodes.values() if is_unguarded(node)]

    for node in decoders:
        _guard(node, scope)

    return len(decoders)


def _is_open(node: Any) -> bool:
    return bool(attribute(node, "channels").i == 0)


def _is_wide(node: Any) -> bool:
    wanted = node.op == "DecodeImage" and attribute(node, "dtype").type
    return wanted not in (False, tf.uint8.as_datatype_enum)


def _guard(node: Any, scope: Scope) -> None:
    if node.op == "DecodeJxl":
        # The header of a JPEG XL doesn't tell whether it is safe, so fix the channels.
        node.attr["channels"].i = 3
        return

    check = _check(open_=_is_open(node), wide=_is_wide(node))
    given = {"contents": node.input[0]}
    names = scope.graft(check, given, f"{node.name}/check")
    node.input[0] = names[_CHECKED]


@cache
def _check(*, open_: bool, wide: bool) -> Any:
    """Return a GraphDef that checks `contents`, each node behind those it reads."""
    with tf.Graph().as_default() as graph:
        contents = tf1.placeholder(tf.string, [], name="contents")
        start = tf.strings.substr(contents, 0, _HEADER)
        header = tf.strings.join([start, tf.constant(b"\0" * _HEADER)])
        text = tf.constant(_START)

        if open_:
            text = tf.where(_is_known(header), text, _OPEN)

        if wide:
            text = tf.where(_runs_downwards(header), _DOWNWARDS, text)

        # A message isn't a number: `to_number` fails, and its error quotes the message.
        start = tf.strings.to_number(text, tf.int32)
        tf.strings.substr(contents, start, tf.int32.max, name=_CHECKED)

    return graph.as_graph_def()


def _is_known(header: Any) -> Any:
    magic = [_has(header, 0, each) for each in (*_MAGIC.values(), _BMP)]
    return tf.reduce_any(tf.stack([*magic, _is_still_webp(header)]))


def _is_still_webp(header: Any) -> Any:
    """Return whether it is a WebP of one image.

    By https://developers.google.com/speed/webp/docs/riff_container a simple file has
    one image, and an extended one a bit that says whether it is animated.
    """
    riff = _has(header, 0, b"RIFF") & _has(header, 8, b"WEBP")
    simple = _has(header, 12, b"VP8 ") | _has(header, 12, b"VP8L")
    still = tf.equal(tf.bitwise.bitwise_and(_byte(header, 20), 2), 0)
    return riff & (simple | (_has(header, 12, b"VP8X") & still))


def _runs_downwards(header: Any) -> Any:
    """Return whether a BMP's height, at byte 22, is negative."""
    return _has(header, 0, _BMP) & tf.greater_equal(_byte(header, 25), 128)


def _has(header: Any, position: int, text: bytes) -> Any:
    return tf.equal(tf.strings.substr(header, position, len(text)), text)


def _byte(header: Any, position: int) -> Any:
    return tf.io.decode_raw(tf.strings.substr(header, position, 1), tf.uint8)[0]
