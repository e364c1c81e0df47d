"""Defaults and names of layers that changed between Keras 2.0 and tf_keras 2.21."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.formats.keras.history.origin import Config, Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a layer, with the old meaning of its arguments.

    `missing` are arguments with the value that their absence meant, `fixed` those that
    the old class always had, `dropped` those without a meaning now. `until` is the
    first version that it no longer applies to.
    """

    missing: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    renamed: str = ""
    until: tuple[int, int] = (3, 0)
    note: str = ""

    def applies(self, config: Config, origin: Origin) -> bool:
        """Return whether the change affects `config`."""
        silent = any(key not in config for key in self.missing)
        changed = bool(self.renamed or self.fixed or self.dropped & config.keys())
        return origin.before(*self.until) and (silent or changed)

    def applied_to(self, config: Config) -> Config:
        """Return `config` with its old meaning spelled out."""
        kept = {key: each for key, each in config.items() if key not in self.dropped}
        return {**self.missing, **kept, **self.fixed}


# Keras 2.2's release notes: `reset_after` came with the default False, the only way
# before it. tf_keras' own default is True.
_GRU = Change(missing={"reset_after": False})

# Keras 2.3.0's release notes: the default of LSTM and GRU became `sigmoid`.
_GATES = Change(missing={"recurrent_activation": "hard_sigmoid"}, until=(2, 3))

# `layers/cudnn_recurrent.py` of Keras 2.2.4: cuDNN computes what LSTM and
# GRU(reset_after=True) do with these activations; the loader converts the weights.
_CUDNN = {"activation": "tanh", "recurrent_activation": "sigmoid"}
_CUDNN_NOTE = "Layers made for cuDNN are computed by the plain layers on a CPU."

# `layers/normalization.py` of Keras 2.0 to 2.15 writes these; a file of another program
# may lack them.
_NORMALIZATION = Change(missing={"epsilon": 1e-3, "momentum": 0.99})

# The package efficientnet (`efficientnet/model.py`): a Dropout whose noise has another
# shape in training, and which does nothing in inference.
_FIXED_DROPOUT = Change(
    renamed="Dropout",
    dropped=frozenset({"noise_shape"}),
    note="The custom layer FixedDropout (of the package efficientnet) is a Dropout, "
    "which does nothing in inference.",
)

# tf.keras of TensorFlow 2.1 to 2.3 wrote the loss scale into each layer's policy
# (`mixed_precision/experimental/policy.py`), and PolicyV1 by its class.
_LOSS_SCALE = frozenset({"loss_scale"})

# `tf.nn.softmax` as an activation was written by its function's name, up to TF 2.3.
ACTIVATIONS: Mapping[str, str] = {"softmax_v2": "softmax"}

CHANGES: Mapping[str, tuple[Change, ...]] = {
    "BatchNormalization": (_NORMALIZATION,),
    "CuDNNGRU": (
        Change(renamed="GRU", fixed=_CUDNN | {"reset_after": True}, note=_CUDNN_NOTE),
    ),
    "CuDNNLSTM": (Change(renamed="LSTM", fixed=_CUDNN, note=_CUDNN_NOTE),),
    "FixedDropout": (_FIXED_DROPOUT,),
    "GRU": (_GRU, _GATES),
    "GRUCell": (_GRU, _GATES),
    "LSTM": (_GATES,),
    "LSTMCell": (_GATES,),
    "Policy": (Change(dropped=_LOSS_SCALE),),
    "PolicyV1": (Change(renamed="Policy", dropped=_LOSS_SCALE),),
}
