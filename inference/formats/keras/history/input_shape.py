"""The input shape of a Sequential whose file was saved without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel, InvalidSidecar

if TYPE_CHECKING:
    from inference.formats.keras.history.origin import Config, Origin

_KEYS = ("batch_input_shape", "batch_shape", "input_shape")


def with_input_shape(
    config: Config, shape: tuple[int, ...] | None, origin: Origin
) -> Config:
    """Return `config` with an input of that `shape`, if it has none.

    `shape` is the sidecar's, without the batch, -1 for an open size. Raise
    `InvalidModel` if it is missing and `InvalidSidecar` if it isn't needed.
    """
    layers = _layers(config)
    known = layers is None or _is_known(config)

    if known and shape is None:
        return config

    if known:
        raise InvalidSidecar(
            "input_shape is for a Sequential that was saved without the shape of its "
            "input; this model has its own. Remove the key."
        )

    if shape is None:
        raise InvalidModel(
            "no input shape is stored in it: the Sequential was saved before it was "
            "built. Give it, without the batch, in the TOML file beside it: "
            "input_shape = [4] for rows of four numbers, -1 for an open size."
        )

    sizes = [None, *(None if size == -1 else size for size in shape)]
    inner = config["config"]
    return config | {"config": inner | {"layers": [_input(sizes, origin), *layers]}}


def _layers(config: Config) -> Any:
    """Return the layers of a Sequential that has some; `None` for other models."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    sequential = config.get("class_name") == "Sequential"
    return layers if sequential and isinstance(layers, list) and layers else None


def _is_known(config: Config) -> bool:
    """Return whether the model or its first layer, recursively, has a shape."""
    build = config.get("build_config")
    inner = config.get("config")
    inner = inner if isinstance(inner, dict) else {}
    layers = _layers(config)

    if inner.get("build_input_shape") or any(inner.get(key) for key in _KEYS):
        return True

    if isinstance(build, dict) and build.get("input_shape"):
        return True

    if config.get("class_name") in ("Functional", "Model"):
        return True

    return bool(layers) and isinstance(layers[0], dict) and _is_known(layers[0])


def _input(sizes: list[int | None], origin: Origin) -> Config:
    old = origin.before(3)
    config = {
        "name": "input",
        "dtype": "float32",
        "batch_input_shape" if old else "batch_shape": sizes,
    }
    made = {"class_name": "InputLayer", "config": config}
    own = {"module": "keras.layers", "registered_name": None}
    return made if old else made | own
