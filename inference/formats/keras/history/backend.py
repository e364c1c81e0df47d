"""The backend that trained a Keras file, which decides the layout of its kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.formats.keras.vocabulary.names import shown

if TYPE_CHECKING:
    from inference.formats.keras.history.origin import Config, Origin

# `engine/saving.py: _need_convert_kernel` of Keras 2.2.4: TensorFlow and CNTK
# correlate, Theano convolves, which is to correlate with the flipped kernel.
CORRELATE = frozenset({"cntk", "jax", "numpy", "plaidml", "tensorflow", "torch"})
CONVOLVE = frozenset({"theano"})


def check_backend(origin: Origin, config: Config, name: str) -> None:
    """Raise `InvalidModel` if the layout of kernels in the file `name` is unknown."""
    if origin.backend in CORRELATE | CONVOLVE:
        return

    if origin.backend is not None:
        known = ", ".join(sorted(CORRELATE | CONVOLVE))
        raise InvalidModel(
            f"{name} was written with the Keras backend '{shown(origin.backend)}'. "
            f"Backends store kernels of convolutions differently, and only {known} are "
            "known. Save the model again with one of these."
        )

    # No file of Keras 1 names its backend. Channels first was Theano's default, and
    # TensorFlow users kept it for compatibility; channels last was TensorFlow's alone.
    layer = _ambiguous(config) if origin.before(2) else None

    if layer is not None:
        raise InvalidModel(
            f"{name} doesn't say which backend trained it, as no file of Keras 1 does, "
            f"and layer '{shown(layer)}' convolves with channels first: Theano's "
            "kernels are stored flipped, TensorFlow's aren't. Say in the TOML file "
            'beside it which it was: backend = "theano", or backend = "tensorflow".'
        )


def _ambiguous(config: Config) -> str | None:
    """Return a layer with channels first whose kernel covers more than one point."""
    waiting: list[Any] = [config]

    while waiting:
        value = waiting.pop()

        if isinstance(value, dict):
            if value.get("dim_ordering") == "th" and _kernel_size(value) > 1:
                return str(value.get("name"))

            waiting += value.values()
        elif isinstance(value, list):
            waiting += value

    return None


def _kernel_size(config: Config) -> int:
    sides = ("nb_row", "nb_col", "kernel_dim1", "kernel_dim2", "kernel_dim3")
    sizes = [config[side] for side in sides if isinstance(config.get(side), int)]
    return max(sizes, default=0)
