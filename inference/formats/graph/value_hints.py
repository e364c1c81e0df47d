"""Hints at the values of inputs, from the operations that read them."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import cache
from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from inference.formats.graph.dataflow import Dataflow
from inference.formats.graph.graphdef import all_nodes
from inference.formats.graph.tensors import known_dtype
from inference.inputs.encoded_media import SIDES, bmp, gif, picture, png, wav
from inference.inputs.hints import Hint, Hints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from inference.formats.graph.dataflow import Use
    from inference.inputs.hints import Texts
    from inference.types import Array, Signature

_TABLES = {
    # Operation → position of its indices and of the table, by tensorflow/core/ops.
    "Gather": (1, 0),
    "GatherNd": (1, 0),
    "GatherV2": (1, 0),
    "ResourceGather": (1, 0),
    "ResourceGatherNd": (1, 0),
    "SparseSegmentMean": (1, 0),
    "SparseSegmentMeanWithNumSegments": (1, 0),
    "SparseSegmentSqrtN": (1, 0),
    "SparseSegmentSqrtNWithNumSegments": (1, 0),
    "SparseSegmentSum": (1, 0),
    "SparseSegmentSumWithNumSegments": (1, 0),
}
_COUNTS = {
    # Operation → position of its indices and of their number.
    "Bincount": (0, 1),
    "DenseBincount": (0, 1),
    "OneHot": (0, 1),
    "UnsortedSegmentMax": (1, 2),
    "UnsortedSegmentMin": (1, 2),
    "UnsortedSegmentProd": (1, 2),
    "UnsortedSegmentSum": (1, 2),
}
_BELOW, _ABOVE = {"Less": 1, "LessEqual": 0}, {"Greater": 1, "GreaterEqual": 0}
"""Comparisons, and by how much an integer must be off the bound."""

_ENCODERS: dict[str, Callable[[Array], bytes]] = {
    "JPEG": lambda pixels: _jpeg(pixels),
    "PNG": png,
    "BMP": bmp,
    "GIF": gif,
}
_FORMATS = {
    "DecodeAndCropJpeg": "JPEG",
    "DecodeBmp": "BMP",
    "DecodeGif": "GIF",
    "DecodeImage": "PNG",
    "DecodeJpeg": "JPEG",
    "DecodePng": "PNG",
    "ExtractJpegShape": "JPEG",
}
_SOUNDS = (1600, 16000)
_QUADRATIC = {"BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"}
_LARGEST_QUADRATIC = 1024


def hints_of(graph_def: Any, signature: Signature) -> Hints:
    """Return hints for the required inputs of `signature`."""
    dataflow = Dataflow(graph_def)
    ops = {node.op for node in all_nodes(graph_def)}
    return Hints(
        inputs={
            spec.name: _hint(list(dataflow.uses(spec.tensor)), asserts="Assert" in ops)
            for spec in signature.inputs.values()
            if spec.required
        },
        # Attention takes memory by the square of the length.
        **({"largest": _LARGEST_QUADRATIC} if ops & _QUADRATIC else {}),
    )


def _hint(uses: list[Use], *, asserts: bool) -> Hint:
    counts = [count for use in uses if (count := _count(use)) is not None]
    bounds = [bound for use in uses if (bound := _bound(use))] if asserts else []
    return Hint(
        count=min(counts, default=None),
        low=max((low for low, _ in bounds if low is not None), default=None),
        high=min((high for _, high in bounds if high is not None), default=None),
        texts=tuple(_texts(uses)),
    )


def _count(use: Use) -> int | None:
    """Return how many values an index may have; `None` if unknown."""
    indices, table = _TABLES.get(use.node.op, (-1, 0))

    if use.position == indices:
        shape = _shape(use.constant(table)) or ()
        axis = _scalar(use, 2) if use.node.op == "GatherV2" else 0
        sizes = () if axis is None else shape[int(axis) :]
        # A dimension of open size is -1.
        return max(0, next(iter(sizes), 0)) or None

    indices, count = _COUNTS.get(use.node.op, (-1, 0))

    if use.position == indices:
        return max(0, int(_scalar(use, count) or 0)) or None

    return None


def _bound(use: Use) -> tuple[float | None, float | None] | None:
    """Return the lowest and the highest value that a comparison accepts."""
    op = use.node.op

    if op not in {*_BELOW, *_ABOVE}:
        return None

    other = _scalar(use, 1 - use.position)

    if other is None:
        return None

    is_high = (op in _BELOW) == (use.position == 0)
    kind = known_dtype(use.node.attr["T"].type)
    off = {**_BELOW, **_ABOVE}[op] if kind and kind.is_integer else 0
    return (None, other - off) if is_high else (other + off, None)


def _texts(uses: Iterable[Use]) -> Iterator[Texts]:
    ops = {use.node.op for use in uses}
    wanted = [_FORMATS[op] for op in sorted(ops) if op in _FORMATS]
    sets: list[Texts] = []

    if wanted:
        kinds = dict.fromkeys((*wanted, *_ENCODERS))
        sets = [_images(kind, side) for side in SIDES for kind in kinds]

    if "DecodeWav" in ops:
        sets += [tuple(wav(count, seed) for seed in (0, 1)) for count in _SOUNDS]

    for texts in sets:
        yield tuple(map(_base64, texts)) if "DecodeBase64" in ops else texts


def _images(kind: str, side: int) -> Texts:
    return tuple(_ENCODERS[kind](picture(side, seed)) for seed in (0, 1))


def _jpeg(pixels: Array) -> bytes:
    return _jpegs(pixels.tobytes(), pixels.shape)


@cache
def _jpegs(content: bytes, shape: tuple[int, ...]) -> bytes:
    # The results are cached: each encoding starts a session.
    with tf.Graph().as_default(), tf1.Session() as session:
        pixels = tf.reshape(tf.io.decode_raw(content, tf.uint8), shape)
        encoded: bytes = session.run(tf.io.encode_jpeg(pixels))

    return encoded


def _base64(text: bytes) -> bytes:
    return urlsafe_b64encode(text).rstrip(b"=")


def _shape(node: Any) -> tuple[int, ...] | None:
    """Return the shape of a constant or a variable; `None` for others."""
    if node is None or node.op not in ("Const", "VarHandleOp"):
        return None

    shape = (
        node.attr["value"].tensor.tensor_shape
        if node.op == "Const"
        else node.attr["shape"].shape
    )
    return tuple(each.size for each in shape.dim)


def _scalar(use: Use, position: int) -> float | None:
    node = use.constant(position)

    if node is None or node.op != "Const" or _shape(node):
        return None

    tensor = node.attr["value"].tensor
    dtype = known_dtype(tensor.dtype)
    numeric = dtype is not None and (dtype.is_integer or dtype.is_floating)
    return float(tf.make_ndarray(tensor)) if numeric else None
