"""Activations with a well-known meaning that tf_keras has no name for.

Files of Keras 2 name them if their authors passed a function of their own to a layer,
as MobileNetV3 and its relatives do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.backend import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _hard_swish(x: Any) -> Any:
    """Compute hard swish (Howard et al. 2019, "Searching for MobileNetV3")."""
    return x * tf.nn.relu6(x + 3.0) / 6.0


ACTIVATION_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "hard_silu": _hard_swish,
    "hard_swish": _hard_swish,
    "log_sigmoid": tf.math.log_sigmoid,
}
