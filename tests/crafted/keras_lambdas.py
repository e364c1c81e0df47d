"""Keras files that hold Python code: lambdas, openly and in disguise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from tests.crafted.case import Crafted
from tests.crafted.keras_parts import (
    KERAS_2,
    Config,
    fill,
    function,
    h5_file,
    lambda_code,
    layer,
    members,
    own,
    python_lambda,
    sequential,
    zip_file,
)

Maker = Callable[[Path, Path], Path]


def old_lambda(canary: Path) -> Config:
    """Return a Lambda as Keras 2 writes it."""
    code = [lambda_code(canary), None, None]
    return layer("Lambda", function=code, function_type="lambda", arguments={})


def new_lambda(canary: Path) -> Config:
    return own("Lambda", name="evil", function=python_lambda(canary), arguments={})


def h5(stack: Callable[[Path], list[Config]], **how: Any) -> Maker:
    return lambda folder, canary: h5_file(
        folder / "model.h5", sequential(*stack(canary)), **how
    )


def zipped(stack: Callable[[Path], list[Config]]) -> Maker:
    return lambda folder, canary: zip_file(
        folder / "model.keras", members(sequential(*stack(canary)))
    )


def disabling(canary: Path) -> list[Config]:
    """Disable Keras' guard in the first layer, and use code in the second."""
    return [
        own(
            "Activation",
            name="first",
            activation=function("keras.config", "enable_unsafe_deserialization"),
        ),
        new_lambda(canary),
    ]


def weights_with_json(folder: Path, canary: Path) -> Path:
    """Write the architecture beside the weights."""
    with h5py.File(folder / "model.h5", "w") as file:
        fill(file)

    text = json.dumps(sequential(old_lambda(canary)))
    (folder / "model.json").write_text(text)
    return folder / "model.h5"


def renamed(canary: Path) -> list[Config]:
    """Return a Dense by class with the name of a Lambda, which Keras looks up first."""
    return [new_lambda(canary) | {"class_name": "Dense", "registered_name": "x>Lambda"}]


def packaged(canary: Path) -> list[Config]:
    return [old_lambda(canary) | {"class_name": "Custom>Lambda"}]


def elsewhere(canary: Path) -> list[Config]:
    module = "keras.src.layers.core.lambda_layer"
    return [new_lambda(canary) | {"module": module}]


def residual(canary: Path) -> list[Config]:
    cell = layer("LSTMCell", units=3)
    code = [lambda_code(canary), None, None]
    wrapped = layer("ResidualWrapper", cell=cell, residual_fn=code)
    return [layer("RNN", "rnn", cell=wrapped)]


def wrapper(class_name: str, **more: Any) -> Callable[[Path], list[Config]]:
    return lambda canary: [layer(class_name, "outer", layer=old_lambda(canary), **more)]


def inside(canary: Path) -> list[Config]:
    inner = sequential(old_lambda(canary))
    return [own("Functional", "keras.src.models.functional", name="m", layers=[inner])]


def activation(canary: Path) -> list[Config]:
    return [own("Dense", name="evil", units=3, activation=python_lambda(canary))]


def backward(canary: Path) -> list[Config]:
    forward = layer("LSTM", "forward", units=3)
    both = {"layer": forward, "backward_layer": old_lambda(canary)}
    return [layer("Bidirectional", "outer", **both)]


IS_LAMBDA = "layer 'evil' is a Lambda: it holds Python code"

CASES = [
    Crafted(
        name="lambda_h5", make=h5(lambda c: [old_lambda(c)]), reason=f"h5.*{IS_LAMBDA}"
    ),
    Crafted(
        name="lambda_h5_keras2",
        make=h5(lambda c: [old_lambda(c)], version=KERAS_2),
        reason=IS_LAMBDA,
    ),
    Crafted(name="lambda_h5_new", make=h5(lambda c: [new_lambda(c)]), reason=IS_LAMBDA),
    Crafted(
        name="lambda_zip", make=zipped(lambda c: [new_lambda(c)]), reason=IS_LAMBDA
    ),
    Crafted(name="lambda_beside", make=weights_with_json, reason=IS_LAMBDA),
    Crafted(
        name="lambda_time_distributed",
        make=h5(wrapper("TimeDistributed")),
        reason=IS_LAMBDA,
    ),
    Crafted(
        name="lambda_bidirectional", make=h5(wrapper("Bidirectional")), reason=IS_LAMBDA
    ),
    Crafted(name="lambda_backward", make=h5(backward), reason=IS_LAMBDA),
    Crafted(name="lambda_nested_h5", make=h5(inside), reason=IS_LAMBDA),
    Crafted(name="lambda_nested_zip", make=zipped(inside), reason=IS_LAMBDA),
    Crafted(
        name="lambda_activation",
        make=zipped(activation),
        reason="layer 'evil' is a __lambda__: it holds Python code",
    ),
    Crafted(
        name="lambda_disguised",
        make=zipped(renamed),
        reason="layer 'evil' is of the custom class 'x>Lambda'",
    ),
    Crafted(
        name="lambda_packaged",
        make=h5(packaged),
        reason="layer 'evil' is a Custom>Lambda: it holds Python code",
    ),
    Crafted(name="lambda_by_its_module", make=zipped(elsewhere), reason=IS_LAMBDA),
    Crafted(
        name="lambda_after_disabling",
        make=zipped(disabling),
        reason="layer 'first' names the function 'enable_unsafe_deserialization'",
    ),
    Crafted(
        name="lambda_in_residual_wrapper",
        make=h5(residual, version=KERAS_2),
        reason="is a ResidualWrapper: it holds Python functions",
    ),
]
