"""Model files as Keras 1.2.2 wrote them, from weights of today's layers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inference.types import Array

Config = dict[str, Any]

COMMON = {"trainable": True}
WEIGHTED = {
    "init": "glorot_uniform",
    "W_regularizer": {"name": "L1L2Regularizer", "l1": 0.0, "l2": 0.01},
    "b_regularizer": None,
    "activity_regularizer": None,
    "W_constraint": None,
    "b_constraint": None,
}
RECURRENT = {
    "init": "glorot_uniform",
    "inner_init": "orthogonal",
    "forget_bias_init": "one",
    "activation": "tanh",
    "inner_activation": "hard_sigmoid",
    "return_sequences": False,
    "go_backwards": False,
    "stateful": False,
    "unroll": False,
    "consume_less": "cpu",
    "W_regularizer": None,
    "U_regularizer": None,
    "b_regularizer": None,
    "dropout_W": 0.1,
    "dropout_U": 0.1,
    "input_length": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of Keras 1, with the arrays that its file holds for it."""

    kind: str
    name: str
    config: Config = field(default_factory=dict)
    weights: Sequence[Array] = ()

    def json(self) -> Config:
        config = COMMON | {"name": self.name} | self.config
        return {"class_name": self.kind, "config": config}


def weighted(kind: str, name: str, weights: Sequence[Array], **config: Any) -> Layer:
    return Layer(kind=kind, name=name, config=WEIGHTED | config, weights=tuple(weights))


def recurrent(kind: str, name: str, weights: Sequence[Array], **config: Any) -> Layer:
    return Layer(
        kind=kind, name=name, config=RECURRENT | config, weights=tuple(weights)
    )


def gates(weights: Sequence[Array], order: Sequence[int]) -> list[Array]:
    """Cut kernel, recurrent kernel and bias into the arrays of each gate."""
    parts = [np.split(each, len(order), axis=-1) for each in weights]
    return [part[gate] for gate in order for part in parts]


LSTM_GATES = (0, 2, 1, 3)
"""Keras 1 kept input, cell, forget and output, where today it is i, f, c, o."""

GRU_GATES = (0, 1, 2)


def write(path: Path, layers: Sequence[Layer], config: Any = None) -> Path:
    """Write a Sequential, or the model of `config`, as `model.save` of Keras 1.2.2."""
    sequential = [layer.json() for layer in layers]
    model = config or {"class_name": "Sequential", "config": sequential}

    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"1.2.2"
        file.attrs["model_config"] = json.dumps(model).encode()
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [layer.name.encode() for layer in layers]

        for layer in layers:
            group = weights.create_group(layer.name)
            names = [f"{layer.name}_{place}" for place in range(len(layer.weights))]
            group.attrs["weight_names"] = np.array(names, dtype="S60")

            for name, value in zip(names, layer.weights, strict=True):
                group[name] = value

    return path
