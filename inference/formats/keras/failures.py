"""Error messages for files that Keras can't read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from inference.errors import MAX_LENGTH, first_line
from inference.repository.layout import architecture_of

if TYPE_CHECKING:
    from inference.formats.keras.config import KerasFile

_EXAMPLE = re.compile(r"Example error message for object (<.*>):\s*(\S.*)")
"""Keras 3's message over two paragraphs; the reason is in the second."""

_QUANTIZED = (
    "Its weights are quantized in a way that Keras can't read back, as inside a "
    "MultiHeadAttention, or by GPTQ. Export the quantized model as a SavedModel "
    "(model.export), or save it before it is quantized."
)


_DESERIALIZING = re.compile(
    r"Error when deserializing (?:class )?'(\w+)' (?:using )?config=.*?"
    r"Exception encountered: (\S.*)",
    re.DOTALL,
)
"""The message of both versions; the config stands between the class and the cause."""


def load_error(reader: str, keras_file: KerasFile, error: Exception) -> str:
    """Return why `reader`, such as "Keras 3.15.1", can't load the file."""
    name, reason = keras_file.path.name, _reason(error)

    if keras_file.stored.quantized and _is_about_weights(error):
        return (
            f"{reader} can't load {name}, written by Keras "
            f"{keras_file.version}: {reason.rstrip('.')}. {_QUANTIZED}"
        )

    if keras_file.weights_only:
        folder = keras_file.path.is_dir()
        beside = "it" if folder else architecture_of(keras_file.path).name
        return f"The weights in {name} don't fit the architecture in {beside}: {reason}"

    if isinstance(error, KeyError):
        return f"{name} has no weights for {reason}; it is truncated or edited."

    return (
        f"{reader} can't read {name}, written by Keras "
        f"{keras_file.version}: {reason.rstrip('.')}. If you have the model's code, "
        "save it again as a .keras file, or export it as a SavedModel (model.export)."
    )


def _reason(error: Exception) -> str:
    text = str(error)
    told = _EXAMPLE.search(text) or _DESERIALIZING.search(text)
    return f"{told[1]}: {told[2][:MAX_LENGTH]}" if told else first_line(error)


def _is_about_weights(error: Exception) -> bool:
    text = str(error)
    return bool(_EXAMPLE.search(text)) or "mismatch" in text
