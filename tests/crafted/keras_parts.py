"""Parts of crafted Keras files, made without Keras.

`lambda_code` is a real function as Keras marshals it: it writes to the canary when it
is called.
"""

from __future__ import annotations

import base64
import io
import json
import marshal
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Config = dict[str, Any]

KERAS_2, KERAS_3 = "2.15.0", "3.15.1"


def layer(class_name: str, name: str = "evil", **config: Any) -> Config:
    """Return a layer as files before Keras 3 write it, by its class alone."""
    return {"class_name": class_name, "config": {"name": name, **config}}


def own(class_name: str, module: str = "keras.layers", **config: Any) -> Config:
    """Return an object as Keras 3 writes it."""
    return {
        "module": module,
        "class_name": class_name,
        "config": config,
        "registered_name": None,
    }


def function(module: str, name: str) -> Config:
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": name,
    }


def taken(shape: tuple[int | None, ...] = (None, 4)) -> Config:
    return own("InputLayer", name="x", batch_shape=list(shape), dtype="float32")


def sequential(*stack: Config) -> Config:
    model = own("Sequential", "keras", name="crafted", layers=[taken(), *stack])
    return model


def lambda_code(canary: Path) -> str:
    path = f"__import__('pathlib').Path({str(canary)!r})"
    text = f"lambda x: {path}.write_text('gone') and x"
    return base64.b64encode(marshal.dumps(eval(text).__code__)).decode()


def python_lambda(canary: Path) -> Config:
    inner = {"code": lambda_code(canary), "defaults": None, "closure": None}
    return {"class_name": "__lambda__", "config": {"value": inner} | inner}


def h5_file(
    path: Path,
    config: Config | str,
    *,
    version: str = KERAS_3,
    edit: Callable[[Any], None] | None = None,
) -> Path:
    """Write a model with the weights of one small layer; `edit` changes the file."""
    with h5py.File(path, "w") as file:
        text = config if isinstance(config, str) else json.dumps(config)
        file.attrs.update(model_config=text, keras_version=version)
        fill(file.create_group("model_weights"))
        if edit is not None:
            edit(file)

    return path


def fill(weights: Any) -> None:
    """Write Keras' own layout, with a layer `dense`."""
    weights.attrs["layer_names"] = np.array([b"dense"])
    group = weights.create_group("dense")
    group.attrs["weight_names"] = np.array([b"kernel"])
    group["kernel"] = np.ones((4, 3), "float32")


def weights_bytes(edit: Callable[[Any], None] | None = None) -> bytes:
    """Return a `.keras` file's weights."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"] = np.ones((4, 3), "float32")
        if edit is not None:
            edit(file)

    return buffer.getvalue()


def members(config: Config | str) -> dict[str, bytes]:
    text = config if isinstance(config, str) else json.dumps(config)
    metadata = {"keras_version": KERAS_3, "date_saved": "2026-01-01"}
    return {
        "metadata.json": json.dumps(metadata).encode(),
        "config.json": text.encode(),
        "model.weights.h5": weights_bytes(),
    }


def zip_file(path: Path, parts: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)

    return path
