from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.errors import InputMismatch
from inference.formats.kernels.adapting import adapt
from inference.runtime.servable import Servable
from tests.support.graphs import compile_graph, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Decode = Callable[[Any], Any]

RANDOM = np.random.default_rng(6)


def pixels(channels: int, dtype: str = "uint8") -> Any:
    return RANDOM.integers(0, 256, (6, 5, channels)).astype(dtype)


def bmp(channels: int) -> bytes:
    """Return six rows of five pixels, from bottom to top."""
    size = (channels * 5 + 3) // 4 * 4 * 6
    header = struct.pack("<2sIHHI", b"BM", 54 + size, 0, 0, 54)
    info = struct.pack("<IiiHHIIiiII", 40, 5, 6, 1, channels * 8, 0, size, 0, 0, 0, 0)
    return header + info + RANDOM.bytes(size)


PICTURES = {
    "grey JPEG": tf.io.encode_jpeg(pixels(1)).numpy(),
    "colour JPEG": tf.io.encode_jpeg(pixels(3)).numpy(),
    "grey PNG": tf.io.encode_png(pixels(1)).numpy(),
    "grey PNG with alpha": tf.io.encode_png(pixels(2)).numpy(),
    "colour PNG": tf.io.encode_png(pixels(3)).numpy(),
    "colour PNG with alpha": tf.io.encode_png(pixels(4)).numpy(),
    "PNG of 16 bits": tf.io.encode_png(pixels(3, "uint16")).numpy(),
    "BMP": bmp(3),
    "BMP with alpha": bmp(4),
    # Two by two pixels each, as Pillow writes them.
    "GIF": bytes.fromhex(
        "4749463837610200020081000000ff000a141eff00000000ff2c0000000002000200000807"
        "00050018102020003b"
    ),
    "WebP": bytes.fromhex(
        "5249464632000000574542505650384c260000002f014000001f20102078f0bf6a434890d0"
        "fdbf578100c188ff4bf31ff8e4a8e0060c11fd0f01"
    ),
    "WebP with alpha": bytes.fromhex(
        "524946463c000000574542505650384c2f0000002f014000101f20102078f0bf6a43484050"
        "fdff4b209064b23fe54202a23b66ae8982bd90ad02d90065aa308be87fec00"
    ),
}

UNFIT = {
    # Their first bytes alone: there is nothing in them to decode.
    "animated WebP": b"RIFF\x18\0\0\0WEBPVP8X\x0a\0\0\0\x02" + b"\0" * 9,
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n",
    "TIFF": b"II*\0" + b"\0" * 30,
    "text": b"no picture",
    "nothing": b"",
}

DECODERS = {
    "DecodeAndCropJpeg": lambda contents: tf.io.decode_and_crop_jpeg(
        contents, [1, 1, 3, 2]
    ),
    "DecodeBmp": tf.io.decode_bmp,
    "DecodeImage": tf.io.decode_image,
    "DecodeImage of one frame": lambda contents: tf.io.decode_image(
        contents, expand_animations=False
    ),
    "DecodeImage to float32": lambda contents: tf.io.decode_image(
        contents, dtype=tf.float32
    ),
    "DecodeJpeg": tf.io.decode_jpeg,
    "DecodePng": tf.io.decode_png,
    "DecodePng to uint16": lambda contents: tf.io.decode_png(contents, dtype="uint16"),
    "DecodeWebP": lambda contents: tf.raw_ops.DecodeWebP(contents=contents),
}


def graph(decode: Decode) -> Any:
    with tf.Graph().as_default() as made:
        tf.identity(decode(tf1.placeholder(tf.string, [], name="x")), name="y")

    return made.as_graph_def()


def answers(graph_def: Any, pictures: dict[str, bytes]) -> dict[str, Any]:
    """Return by format of image the numbers, or the error."""
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(graph_def, name="")

    with tf1.Session(graph=imported) as session:
        return {name: answer(session, each) for name, each in pictures.items()}


def answer(session: Any, picture: bytes) -> Any:
    try:
        return session.run("y:0", {"x:0": picture})
    except tf.errors.InvalidArgumentError as error:
        return str(error)


@pytest.mark.parametrize("decoder", DECODERS)
def test_images_of_known_formats_are_decoded_as_before(decoder: str) -> None:
    graph_def = graph(DECODERS[decoder])
    wanted = answers(graph_def, PICTURES)

    notes = adapt(graph_def, ["y:0"])

    assert notes
    assert any(isinstance(each, np.ndarray) for each in wanted.values())

    for name, got in answers(graph_def, PICTURES).items():
        if isinstance(got, str):
            assert isinstance(wanted[name], str)
        else:
            np.testing.assert_array_equal(got, wanted[name], strict=True)


@pytest.mark.parametrize("decoder", DECODERS)
def test_other_bytes_are_refused_before_decoding(decoder: str) -> None:
    graph_def = graph(DECODERS[decoder])

    adapt(graph_def, ["y:0"])

    for said in answers(graph_def, UNFIT).values():
        assert "it isn't a JPEG, PNG, GIF, BMP or still WebP" in said


def test_top_down_bmp_is_decoded_to_uint8_only() -> None:
    """Tested by its header alone."""
    picture = {"BMP": struct.pack("<2sIHHIIii", b"BM", 54, 0, 0, 54, 40, 5, -6)}
    wide = graph(lambda x: tf.io.decode_image(x, channels=3, dtype=tf.uint16))
    narrow = graph(lambda x: tf.io.decode_image(x, channels=3))

    assert adapt(wide, ["y:0"])
    assert adapt(narrow, ["y:0"]) == []

    assert "from top to bottom" in answers(wide, picture)["BMP"]
    assert "from top to bottom" not in answers(narrow, picture)["BMP"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_fixed_channels_need_no_check(channels: int) -> None:
    graph_def = graph(lambda x: tf.io.decode_png(x, channels=channels))
    before = graph_def.SerializeToString(deterministic=True)

    assert adapt(graph_def, ["y:0"]) == []
    assert graph_def.SerializeToString(deterministic=True) == before


def test_jpeg_xl_decoder_gets_fixed_channels() -> None:
    graph_def = graph(lambda x: tf.raw_ops.DecodeJxl(contents=x))

    adapt(graph_def, ["y:0"])

    decoder = next(node for node in graph_def.node if node.op == "DecodeJxl")
    assert decoder.attr["channels"].i == 3


def test_a_decoder_in_a_loop_is_guarded(tmp_path: Path) -> None:
    def build() -> None:
        def decode(contents: Any) -> Any:
            picture = tf.io.decode_image(contents, expand_animations=False)
            return tf.reduce_mean(tf.cast(picture, tf.float32))

        one_by_one = tf.function(
            lambda x: tf.map_fn(decode, x, fn_output_signature=tf.float32),
            autograph=False,
        )
        tf.identity(one_by_one(rows("x", dtype="string")), name="y")

    artifact = compile_graph(tmp_path, build)
    grey = pixels(1)
    both = [tf.io.encode_png(grey).numpy(), PICTURES["GIF"]]

    with Servable(artifact) as servable:
        outputs = servable.run("serving_default", {"x": np.array(both, object)})

        with pytest.raises(
            InputMismatch, match=r"^This image .*still WebP.*channels=3"
        ):
            text = np.array([b"text"], object)
            servable.run("serving_default", {"x": text})

    np.testing.assert_allclose(outputs["y"][0], grey.mean(), rtol=1e-6)
    assert any("first bytes" in note for note in artifact.read_manifest().notes)


def test_function_with_a_decoder_is_inlined(tmp_path: Path) -> None:
    """Otherwise its model isn't optimised."""

    def build() -> None:
        decode = tf.function(tf.io.decode_jpeg, autograph=False)
        tf.identity(decode(tf1.placeholder(tf.string, [], name="x")), name="y")

    graph_def = tf1.GraphDef()
    graph_def.ParseFromString(compile_graph(tmp_path, build).graph.read_bytes())

    assert "DecodeJpeg" in {node.op for node in graph_def.node}
    assert not graph_def.library.function
