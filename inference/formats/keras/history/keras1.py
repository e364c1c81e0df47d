"""The layers of Keras 1.0 to 1.2, as the classes and arguments of Keras 2.

Source: `get_config` of Keras 1.2.2's layers, against `legacy/interfaces.py` of Keras
2.2.4, which translated arguments, though not from files.

Initializers, constraints and regularizers are dropped: the weights are in the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Config = dict[str, Any]

ORDERINGS = {"tf": "channels_last", "th": "channels_first", "default": None}

_DROPPED = frozenset(
    """
    init inner_init forget_bias_init beta_init gamma_init alpha_init
    W_regularizer U_regularizer b_regularizer gamma_regularizer beta_regularizer
    depthwise_regularizer pointwise_regularizer activity_regularizer
    W_constraint U_constraint b_constraint depthwise_constraint pointwise_constraint
    consume_less input_dtype
    """.split()
)
"""Training only, or (`consume_less`, the dtype of an input) without effect."""

_WEIGHTS = {"output_dim": "units", "bias": "use_bias"}
_DROPOUT = {"p": "rate"}
_CONVOLUTION = {
    "nb_filter": "filters",
    "bias": "use_bias",
    "border_mode": "padding",
    "subsample": "strides",
    "dim_ordering": "data_format",
    "atrous_rate": "dilation_rate",
}
_CONVOLUTION_1D = _CONVOLUTION | {
    "filter_length": "kernel_size",
    "subsample_length": "strides",
}
_POOLING = {"border_mode": "padding", "dim_ordering": "data_format"}
_POOLING_1D = _POOLING | {"pool_length": "pool_size", "stride": "strides"}
_RECURRENT = {
    "output_dim": "units",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
}
_ORDERED = {"dim_ordering": "data_format"}
_SHAPE = "batch_input_shape"
_SIZED = frozenset({"input_dim", "input_length"})
"""Parts of the input's shape, which `batch_input_shape` has as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """The translation of a layer: its new class, new names of arguments, the rest."""

    name: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    convert: Callable[[Config], Config] = dict


def _kernel(*keys: str) -> Callable[[Config], Config]:
    def joined(config: Config) -> Config:
        rest = {key: value for key, value in config.items() if key not in keys}
        sizes = [config[key] for key in keys if key in config]
        return rest | {"kernel_size": sizes} if len(sizes) == len(keys) else config

    return joined


def _normalization(config: Config) -> Config:
    mode = config.get("mode", 0)

    if mode != 0:
        raise InvalidModel(
            f"layer '{config.get('name')}' is a BatchNormalization of mode {mode!r}, "
            "which Keras 2 removed: it normalises by the statistics of each request, "
            "not of training. Train the model with mode 0."
        )

    return {key: value for key, value in config.items() if key != "mode"}


def _padding(config: Config) -> Config:
    """Translate padding by four numbers or by names of sides, as in Keras 1.2."""
    padding = config.get("padding")

    if isinstance(padding, dict):
        sides = ("top_pad", "bottom_pad", "left_pad", "right_pad")
        padding = [padding.get(side, 0) for side in sides if "top_pad" in padding] or [
            padding.get("left_pad", 0),
            padding.get("right_pad", 0),
        ]

    if isinstance(padding, list) and len(padding) == 4:
        padding = [padding[:2], padding[2:]]

    return config if padding is None else config | {"padding": padding}


_KERNEL_2D = _kernel("nb_row", "nb_col")

LAYER_RULES = {
    "AtrousConvolution1D": _Rule(
        name="Conv1D", renamed=_CONVOLUTION_1D, dropped=_SIZED
    ),
    "AtrousConvolution2D": _Rule(
        name="Conv2D", renamed=_CONVOLUTION, convert=_KERNEL_2D
    ),
    "AveragePooling1D": _Rule(name="AveragePooling1D", renamed=_POOLING_1D),
    "AveragePooling2D": _Rule(name="AveragePooling2D", renamed=_POOLING),
    "AveragePooling3D": _Rule(name="AveragePooling3D", renamed=_POOLING),
    "BatchNormalization": _Rule(name="BatchNormalization", convert=_normalization),
    "ConvLSTM2D": _Rule(
        name="ConvLSTM2D",
        renamed=_CONVOLUTION | _RECURRENT,
        dropped=_SIZED | {"unroll"},
        convert=_KERNEL_2D,
    ),
    "Convolution1D": _Rule(name="Conv1D", renamed=_CONVOLUTION_1D, dropped=_SIZED),
    "Convolution2D": _Rule(name="Conv2D", renamed=_CONVOLUTION, convert=_KERNEL_2D),
    "Convolution3D": _Rule(
        name="Conv3D",
        renamed=_CONVOLUTION,
        convert=_kernel("kernel_dim1", "kernel_dim2", "kernel_dim3"),
    ),
    "Cropping2D": _Rule(name="Cropping2D", renamed=_ORDERED),
    "Cropping3D": _Rule(name="Cropping3D", renamed=_ORDERED),
    "Deconvolution2D": _Rule(
        name="Conv2DTranspose", renamed=_CONVOLUTION, convert=_KERNEL_2D
    ),
    "Dense": _Rule(name="Dense", renamed=_WEIGHTS, dropped=_SIZED),
    "Dropout": _Rule(name="Dropout", renamed=_DROPOUT),
    "Embedding": _Rule(name="Embedding", dropped=frozenset({"dropout"})),
    "GRU": _Rule(name="GRU", renamed=_RECURRENT, dropped=_SIZED),
    "GaussianDropout": _Rule(name="GaussianDropout", renamed=_DROPOUT),
    "GaussianNoise": _Rule(name="GaussianNoise", renamed={"sigma": "stddev"}),
    "GlobalAveragePooling2D": _Rule(name="GlobalAveragePooling2D", renamed=_ORDERED),
    "GlobalAveragePooling3D": _Rule(name="GlobalAveragePooling3D", renamed=_ORDERED),
    "GlobalMaxPooling2D": _Rule(name="GlobalMaxPooling2D", renamed=_ORDERED),
    "GlobalMaxPooling3D": _Rule(name="GlobalMaxPooling3D", renamed=_ORDERED),
    "InputLayer": _Rule(name="InputLayer", renamed={"input_dtype": "dtype"}),
    "LSTM": _Rule(name="LSTM", renamed=_RECURRENT, dropped=_SIZED),
    "LocallyConnected1D": _Rule(
        name="LocallyConnected1D", renamed=_CONVOLUTION_1D, dropped=_SIZED
    ),
    "LocallyConnected2D": _Rule(
        name="LocallyConnected2D", renamed=_CONVOLUTION, convert=_KERNEL_2D
    ),
    "MaxPooling1D": _Rule(name="MaxPooling1D", renamed=_POOLING_1D),
    "MaxPooling2D": _Rule(name="MaxPooling2D", renamed=_POOLING),
    "MaxPooling3D": _Rule(name="MaxPooling3D", renamed=_POOLING),
    "PReLU": _Rule(name="PReLU"),
    "SeparableConvolution2D": _Rule(
        name="SeparableConv2D", renamed=_CONVOLUTION, convert=_KERNEL_2D
    ),
    "SimpleRNN": _Rule(name="SimpleRNN", renamed=_RECURRENT, dropped=_SIZED),
    "SpatialDropout1D": _Rule(name="SpatialDropout1D", renamed=_DROPOUT),
    "SpatialDropout2D": _Rule(name="SpatialDropout2D", renamed=_DROPOUT | _ORDERED),
    "SpatialDropout3D": _Rule(name="SpatialDropout3D", renamed=_DROPOUT | _ORDERED),
    "TimeDistributedDense": _Rule(name="Dense", renamed=_WEIGHTS, dropped=_SIZED),
    "UpSampling1D": _Rule(name="UpSampling1D", renamed={"length": "size"}),
    "UpSampling2D": _Rule(name="UpSampling2D", renamed=_ORDERED),
    "UpSampling3D": _Rule(name="UpSampling3D", renamed=_ORDERED),
    "ZeroPadding1D": _Rule(name="ZeroPadding1D", convert=_padding),
    "ZeroPadding2D": _Rule(name="ZeroPadding2D", renamed=_ORDERED, convert=_padding),
    "ZeroPadding3D": _Rule(name="ZeroPadding3D", renamed=_ORDERED),
}

REMOVED = frozenset({"Highway", "MaxoutDense", "ParametricSoftplus", "SReLU"})
"""Layers that Keras 2 removed; nothing computes the same."""

UNCHANGED = frozenset(
    """
    Activation ActivityRegularization Bidirectional Cropping1D ELU Flatten
    GlobalAveragePooling1D GlobalMaxPooling1D LeakyReLU Masking Model Permute
    RepeatVector Reshape Sequential ThresholdedReLU TimeDistributed
    """.split()
)
"""Layers whose arguments kept their names."""

MERGES = {
    "ave": "Average",
    "concat": "Concatenate",
    "dot": "Dot",
    "max": "Maximum",
    "mul": "Multiply",
    "sum": "Add",
}


def to_keras2_layer(class_name: str, config: Config) -> tuple[str, Config]:
    """Translate one layer of Keras 1. Raise `InvalidModel` for a removed one."""
    name = config.get("name")

    if class_name in REMOVED:
        raise InvalidModel(
            f"layer '{name}' is a {class_name}, which Keras 2 removed, so no "
            "maintained library computes it. Train the model without it."
        )

    if class_name == "Merge":
        return _merge(config)

    row = LAYER_RULES.get(class_name)

    if row is None:
        return class_name, _common(config)

    kept = {
        row.renamed.get(key, key): _value(key, value)
        for key, value in config.items()
        if key in row.renamed or key not in _DROPPED | row.dropped
    }
    return row.name, row.convert(_shaped(config, kept))


def _common(config: Config) -> Config:
    """Drop training-only arguments."""
    return {key: value for key, value in config.items() if key not in _DROPPED}


def _value(key: str, value: Any) -> Any:
    if key == "dim_ordering" and isinstance(value, str):
        return ORDERINGS.get(value, value)

    return value


def _shaped(old: Config, kept: Config) -> Config:
    """Give a first layer that only has the size of its input a whole shape."""
    features = old.get("input_dim")

    if _SHAPE in kept or "input_dim" in kept or not isinstance(features, int):
        return kept

    steps = [old["input_length"]] if "input_length" in old else []
    return kept | {_SHAPE: [None, *steps, features]}


def _merge(config: Config) -> tuple[str, Config]:
    name, mode = config.get("name"), config.get("mode")

    if config.get("mode_type", "raw") != "raw" or mode not in MERGES:
        raise InvalidModel(
            f"layer '{name}' is a Merge of the mode {str(mode)[:40]!r}; those that "
            f"can be served are {', '.join(sorted(MERGES))}. Train the model without "
            "it, or export it as a SavedModel."
        )

    kept = {"name": name, "trainable": config.get("trainable", True)}

    if "layers" in config:
        # Branches that stand before it in a Sequential.
        kept["layers"] = config["layers"]

    if mode == "concat":
        kept["axis"] = config.get("concat_axis", -1)

    if mode == "dot":
        kept["axes"] = _dot_axes(config)

    return MERGES[mode], kept


def _dot_axes(config: Config) -> Any:
    """Return the axes of a dot. Raise `InvalidModel` for negative ones in a list."""
    axes = config.get("dot_axes", -1)

    # `K.batch_dot` of Keras 1.2.2 took a negative axis in a list for the other one.
    if isinstance(axes, list) and any(_is_negative(axis) for axis in axes):
        raise InvalidModel(
            f"layer '{config.get('name')}' is a Merge by dot over the axes {axes}: "
            "negative axes in a list meant different ones to each backend of Keras 1. "
            "Save the model again with positive ones."
        )

    return axes


def _is_negative(axis: Any) -> bool:
    return isinstance(axis, int) and axis < 0
