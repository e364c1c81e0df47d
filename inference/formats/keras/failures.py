"""Why Keras couldn't read a file, in words that help."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from inference.errors import first_line
from inference.repository.layout import architecture_of

if TYPE_CHECKING:
    from inference.formats.keras.config import KerasFile

_EXAMPLE = re.compile(r"Example error message for object (<.*>):\s*(\S.*)")
"""Of Keras 3, over two paragraphs; what is wrong stands in the second."""

_QUANTIZED = (
    "Its weights are quantized in a way that Keras can't read back, as inside of a "
    "MultiHeadAttention, or by GPTQ. Export the quantized model as a SavedModel "
    "(model.export), or save it before it is quantized."
)


def load_error(version: str, keras_file: KerasFile, error: Exception) -> str:
    """Say what the Keras of that `version` made of the file."""
    name, reason = keras_file.path.name, _reason(error)

    if keras_file.stored.quantized and _is_about_weights(error):
        return (
            f"Keras {version} can't load {name}, written by Keras "
            f"{keras_file.version}: {reason.rstrip('.')}. {_QUANTIZED}"
        )

    if keras_file.weights_only:
        folder = keras_file.path.is_dir()
        beside = "it" if folder else architecture_of(keras_file.path).name
        return f"The weights in {name} don't fit the architecture in {beside}: {reason}"

    if isinstance(error, KeyError):
        return f"{name} has no weights for {reason}; it is cut or was edited."

    return (
        f"Keras {version} can't read {name}, written by Keras "
        f"{keras_file.version}: {reason.rstrip('.')}. Where the model's code is at "
        "hand, save it again as a .keras file, or export it as a SavedModel "
        "(model.export)."
    )


def _reason(error: Exception) -> str:
    example = _EXAMPLE.search(str(error))
    return f"{example[1]}: {example[2]}" if example else first_line(error)


def _is_about_weights(error: Exception) -> bool:
    text = str(error)
    return bool(_EXAMPLE.search(text)) or "mismatch" in text
