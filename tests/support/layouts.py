"""Small graphs of images, each to be built channels first and channels last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import tf, tf1
from tests.support.graphs import floats, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.types import Array

    Build = Callable[["Form", Any], Any]

IN, OUT = 4, 6
FILTERS = floats(3, 3, IN, OUT)
SAME_FILTERS = floats(3, 3, IN, IN)
DEPTHWISE = floats(3, 2, IN, 2)
CUBES = floats(2, 3, 2, IN, OUT)
NORM = [abs(floats(IN)) + 0.5] * 4
PICTURES = floats(2, IN, 9, 7)
MOVIES = floats(2, IN, 5, 6, 7)


class Form:
    """A way to write a graph: channels first, or channels last for the same numbers."""

    def __init__(self, first: bool, rank: int) -> None:
        self.first = first
        self.axis = 1 if first else rank - 1
        self.name = ("NC" if first else "N") + "DHW"[5 - rank :]
        self.name += "" if first else "C"

    def each(self, *values: Any, outer: Any = 1) -> list[Any]:
        """Return `values` for the positions, `outer` for rows and channels."""
        return [outer, outer, *values] if self.first else [outer, *values, outer]

    def axes(self, *axes: int) -> list[int]:
        """Return dimensions counted channels first."""
        last = len(self.name) - 1
        moved = {0: 0, 1: last} | {each: each - 1 for each in range(2, last + 1)}
        return list(axes) if self.first else [moved[each] for each in axes]

    def of_channels(self, values: Array) -> Array:
        """Return a number for each channel, to be broadcast over an image."""
        ones = (1,) * (len(self.name) - 2)
        return values.reshape(-1, *ones) if self.first else values


def graph(build: Build, pictures: Array, *, first: bool) -> Any:
    """`x`, channels first → what `build` makes of it → `y`, channels first."""
    rank = pictures.ndim
    form = Form(first, rank)

    with tf.Graph().as_default() as made:
        x = rows("x", *pictures.shape[1:])
        y = build(form, x if first else tf.transpose(x, [0, *range(2, rank), 1]))
        whole = not first and len(y.shape) > 2
        back = [0, len(y.shape) - 1, *range(1, len(y.shape) - 1)]
        tf.identity(tf.transpose(y, back) if whole else y, name="y")

    return made.as_graph_def()


def answer(graph_def: Any, pictures: Array) -> Array:
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(graph_def, name="")

    with tf1.Session(graph=imported) as session:
        value: Array = session.run("y:0", {"x:0": pictures})
        return value


def convolved(form: Form, x: Any) -> Any:
    strides = form.each(2, 1)
    return tf.nn.conv2d(x, FILTERS, strides, "SAME", data_format=form.name)


def explicit(form: Form, x: Any) -> Any:
    edges = form.each([1, 2], [0, 3], outer=[0, 0])
    return tf.nn.conv2d(x, FILTERS, 1, edges, data_format=form.name)


def dilated(form: Form, x: Any) -> Any:
    holes = form.each(2, 1)
    return tf.nn.conv2d(x, FILTERS, 1, "VALID", form.name, dilations=holes)


def depthwise(form: Form, x: Any) -> Any:
    ones = form.each(1, 1)
    return tf.nn.depthwise_conv2d(x, DEPTHWISE, ones, "SAME", data_format=form.name)


def transposed(form: Form, x: Any) -> Any:
    """Its output's size is computed from the input's."""
    shape = tf.unstack(tf.shape(x))
    high, wide = (shape[each] * 2 for each in form.axes(2, 3))
    size = [shape[0], OUT, high, wide] if form.first else [shape[0], high, wide, OUT]
    filters = np.swapaxes(FILTERS, 2, 3)
    return tf.nn.conv2d_transpose(x, filters, size, 2, data_format=form.name)


def sizes_in_one_tensor(form: Form, x: Any) -> Any:
    """Not packed from four numbers, so only a gather can bring them in order."""
    size = tf.shape(x) * tf.constant([1, 1, 1, 1])
    filters = np.swapaxes(SAME_FILTERS, 2, 3)
    return tf.nn.conv2d_transpose(x, filters, size, 1, data_format=form.name)


def pooled(form: Form, x: Any) -> Any:
    window, steps = form.each(2, 3), form.each(2, 1)
    x = tf.nn.max_pool2d(x, window, steps, "SAME", data_format=form.name)
    return tf.nn.avg_pool2d(x, window, steps, "VALID", data_format=form.name)


def pooled_by_inputs(form: Form, x: Any) -> Any:
    window, steps = form.each(2, 3), form.each(2, 1)
    pool = tf.raw_ops.MaxPoolV2
    return pool(
        input=x, ksize=window, strides=steps, padding="SAME", data_format=form.name
    )


def of_any_rank(form: Form, x: Any) -> Any:
    return tf.raw_ops.Conv(
        input=x,
        filter=FILTERS,
        strides=form.each(2, 1),
        padding="VALID",
        data_format="CHANNELS_FIRST" if form.first else "CHANNELS_LAST",
    )


def pooled_backwards(form: Form, x: Any) -> Any:
    """Return the gradient of the result by the image, as Grad-CAM does."""
    y = tf.nn.relu(convolved(form, x))
    made = tf.reduce_sum(pooled(form, y) ** 2)
    return tf1.gradients(made, y)[0]


def normed(form: Form, x: Any) -> Any:
    norm = tf1.nn.fused_batch_norm
    return norm(x, *NORM, data_format=form.name, is_training=False)[0]


def statistics(form: Form, x: Any) -> Any:
    """Return a batch norm's other outputs: numbers for each channel."""
    norm = tf1.nn.fused_batch_norm
    return norm(x, *NORM[:2], data_format=form.name, is_training=True)[1]


def blocks(form: Form, x: Any) -> Any:
    x = tf.nn.depth_to_space(x, 2, data_format=form.name)
    return tf.nn.space_to_depth(x * 2.0, 2, data_format=form.name)


def cubes(form: Form, x: Any) -> Any:
    ones = form.each(1, 2, 1)
    x = tf.nn.conv3d(x, CUBES, ones, "SAME", data_format=form.name)
    x = tf.nn.bias_add(x, floats(OUT), data_format=form.name)
    window = form.each(2, 1, 2)
    x = tf.nn.max_pool3d(x, window, ones, "SAME", data_format=form.name)
    return tf.nn.avg_pool3d(x, window, window, "VALID", data_format=form.name)


def cubes_transposed(form: Form, x: Any) -> Any:
    size = form.each(10, 12, 14)
    size = [2, OUT, *size[2:]] if form.first else [2, *size[1:4], OUT]
    filters = np.swapaxes(CUBES, 3, 4)
    return tf.nn.conv3d_transpose(x, filters, size, 2, data_format=form.name)


def residual(form: Form, x: Any) -> Any:
    """Return a residual block, all of it with channels-last forms."""
    ones = form.each(1, 1)
    y = tf.nn.conv2d(x, SAME_FILTERS, ones, "SAME", data_format=form.name)
    y = tf.nn.bias_add(y, floats(IN), data_format=form.name)
    y = normed(form, tf.nn.relu6(y))
    y = tf.nn.leaky_relu(y * form.of_channels(floats(IN)) + 0.5)
    z = tf.nn.conv2d(y, SAME_FILTERS, ones, "SAME", data_format=form.name)
    y = tf.concat([tf.nn.sigmoid(y + z), z], form.axis)
    y = tf.pad(y, form.each([1, 0], [2, 1], outer=[0, 0]))
    y = tf.nn.max_pool2d(
        y, form.each(2, 2), form.each(2, 2), "SAME", data_format=form.name
    )
    weights = tf.reduce_mean(y, form.axes(2, 3), keepdims=True)
    return y * tf.nn.tanh(weights)


def reduced(form: Form, x: Any) -> Any:
    """Return reductions over positions, channels and rows together."""
    y = convolved(form, x)
    channels = tf.reduce_max(y, form.axes(1))
    columns = tf.reduce_sum(y, form.axes(3, 1))
    return tf.concat([tf.reduce_mean(channels, 2), columns], 1)


def rows_of_columns(form: Form, x: Any) -> Any:
    """Return a dimension less, channels still first."""
    return tf.reduce_min(convolved(form, x), form.axes(2))


def one_dimensional(form: Form, x: Any) -> Any:
    """A series under a convolution of two dimensions, as Keras has it."""
    x = tf.reduce_sum(x, form.axes(3))
    return one_after_the_other(form, one_after_the_other(form, x))


def one_after_the_other(form: Form, x: Any) -> Any:
    one_high = tf.expand_dims(x, 2 if form.first else 1)
    filters = SAME_FILTERS[:1]
    y = tf.nn.conv2d(one_high, filters, 1, "SAME", data_format=form.name)
    return tf.nn.relu(tf.squeeze(y, [2 if form.first else 1]))


def sized(form: Form, x: Any) -> Any:
    """Sizes are read off a picture, and serve another."""
    y = convolved(form, x)
    high = tf.cast(tf.shape(y)[form.axes(2)[0]], "float32")
    return y * high + tf.cast(tf.size(y), "float32")


def grouped(form: Form, x: Any) -> Any:
    """Return an operation that must stay channels first."""
    y = convolved(form, x)
    y = y if form.first else tf.transpose(y, [0, 3, 1, 2])
    halves = tf.stack(tf.split(y, 2, 1), 1)
    y = tf.reshape(tf.transpose(halves, [0, 2, 1, 3, 4]), tf.shape(y))
    return y if form.first else tf.transpose(y, [0, 2, 3, 1])


def depthwise_transposed(form: Form, x: Any) -> Any:
    size = [2, 2, 9, 7] if form.first else [2, 9, 7, 2]
    return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=size,
        filter=DEPTHWISE[:, :, :2],
        out_backprop=x,
        strides=[1, 1, 1, 1],
        padding="SAME",
        data_format=form.name,
    )


def old_norms(form: Form, x: Any) -> Any:
    how = {"data_format": form.name, "is_training": False}
    names = ("scale", "offset", "mean", "variance")
    how |= dict(zip(names, NORM, strict=True))
    return tf.raw_ops.FusedBatchNormV2(
        x=tf.raw_ops.FusedBatchNorm(x=x, **how).y, **how
    ).y


def mirrored(form: Form, x: Any) -> Any:
    """Padding that is computed, not constant."""
    edges = tf.constant(form.each([1, 0], [2, 1], outer=[0, 0])) * 1
    return tf.pad(convolved(form, x), edges, "REFLECT")


def halves(form: Form, x: Any) -> Any:
    """In float16 the average is computed in float32, too."""
    y = tf.nn.conv2d(
        tf.cast(x, "float16"), FILTERS[:1, :1].astype("float16"), 1, "SAME", form.name
    )
    window = form.each(3, 2)
    y = tf.nn.avg_pool2d(y, window, window, "SAME", data_format=form.name)
    return tf.round(tf.cast(y, "float32") * 10.0)


TWO = [
    convolved,
    explicit,
    dilated,
    depthwise,
    depthwise_transposed,
    transposed,
    sizes_in_one_tensor,
    pooled,
    pooled_by_inputs,
    of_any_rank,
    pooled_backwards,
    normed,
    old_norms,
    statistics,
    mirrored,
    halves,
    blocks,
    residual,
    reduced,
    rows_of_columns,
    one_dimensional,
    sized,
    grouped,
]
