"""A Keras 1 Sequential whose first layer merges branches, as a Functional model.

Its file stores the weights of all layers side by side (`flattened_layers` in
`models.py` of Keras 1.2.2), so the branches' layers become the model's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel

if TYPE_CHECKING:
    from inference.formats.keras.history.origin import Config
_MODELS = frozenset({"Functional", "Model", "Sequential"})
_SHAPE = "batch_input_shape"


def join_branches(config: Config) -> Config:
    """Return the model of a Sequential's `config`; branches make it Functional."""
    layers = config["layers"]
    branches = _branches(layers)

    if not branches:
        return {"class_name": "Sequential", "config": config}

    joined: list[Config] = []
    inputs: list[str] = []
    ends = [_inlined(branch, joined, inputs) for branch in branches]
    merge = {key: each for key, each in layers[0]["config"].items() if key != "layers"}
    last = _append(joined, layers[0] | {"config": merge}, ends)

    for layer in layers[1:]:
        last = _append(joined, layer, [last])

    functional = {
        "name": config["name"],
        "layers": joined,
        "input_layers": [[name, 0, 0] for name in inputs],
        "output_layers": [[last, 0, 0]],
    }
    return {"class_name": "Functional", "config": functional}


def _branches(layers: list[Any]) -> list[Any]:
    first = layers[0] if layers else None
    config = first.get("config") if isinstance(first, dict) else None
    found = config.get("layers") if isinstance(config, dict) else None
    merges = isinstance(first, dict) and first.get("class_name") not in _MODELS
    return found if merges and isinstance(found, list) else []


def _inlined(branch: Any, joined: list[Config], inputs: list[str]) -> str:
    """Add the layers of `branch`; return the name of the last."""
    config = branch.get("config") if isinstance(branch, dict) else None
    layers = config.get("layers") if isinstance(config, dict) else None

    if not isinstance(config, dict) or not isinstance(layers, list) or not layers:
        raise InvalidModel(
            "a Merge joins models other than Sequential, which only Keras 1 could "
            "read. Export the model as a SavedModel."
        )

    if "output_layers" in config:
        joined += layers
        inputs += [name for name, *_ in config["input_layers"]]
        return str(config["output_layers"][0][0])

    last = _input(layers[0], joined)
    inputs.append(last)

    for layer in layers:
        last = _append(joined, layer, [last])

    return last


def _input(first: Any, joined: list[Config]) -> str:
    config = first.get("config") if isinstance(first, dict) else None

    if not isinstance(config, dict) or _SHAPE not in config:
        raise InvalidModel(
            "a branch of a Merge doesn't say the shape of its input. Save the model "
            "again with input_shape in each branch's first layer."
        )

    name = f"{config.get('name')}_input"
    # Keras 1 gave an Embedding integers and all other layers floats.
    ids = first.get("class_name") == "Embedding"
    made = {"name": name, _SHAPE: config[_SHAPE]}
    made["dtype"] = "int32" if ids else "float32"
    return _append(joined, {"class_name": "InputLayer", "config": made}, [])


def _append(joined: list[Config], layer: Any, feeders: list[str]) -> str:
    config = layer.get("config") if isinstance(layer, dict) else None
    name = config.get("name") if isinstance(config, dict) else None

    if not isinstance(name, str) or any(each["name"] == name for each in joined):
        raise InvalidModel(
            f"the layers of its branches don't all have unique names "
            f"({str(name)[:60]!r}). Save the model again."
        )

    nodes = [[[feeder, 0, 0, {}] for feeder in feeders]] if feeders else []
    joined.append(layer | {"name": name, "inbound_nodes": nodes})
    return name
