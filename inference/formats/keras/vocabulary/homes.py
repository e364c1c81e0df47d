"""Which modules of Keras hold which of its classes, over the years."""

from __future__ import annotations

import re

from inference.formats.keras.vocabulary import classes as known
from inference.formats.keras.vocabulary.operations import (
    ACTIVATION_OPERATIONS,
    OPERATIONS,
    QUANTIZER_OPERATIONS,
    REFUSED_OPERATIONS,
)

OWN_PACKAGES = ("keras", "tf_keras", "keras_hub", "keras_cv", "keras_nlp")
"""The packages that Keras itself imports for the class that a file names."""

OPTIONAL = {
    "keras_cv": "keras-cv",
    "keras_hub": "keras-hub",
    "keras_nlp": "keras-nlp",
}
"""Those of them that Keras doesn't come with, as they are installed."""

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_HOMES = (
    (known.LAYERS, ("keras.layers", "keras.engine")),
    (known.FEATURE_SPACE, ("keras.layers",)),
    (known.LEGACY_LAYERS, ("keras._legacy.layers", "keras.legacy.layers")),
    (known.MODELS, ("keras", "keras.models", "keras.engine")),
    (known.INITIALIZERS, ("keras.initializers",)),
    (known.REGULARIZERS, ("keras.regularizers",)),
    (known.CONSTRAINTS, ("keras.constraints",)),
    (known.LOSSES, ("keras.losses",)),
    (known.METRICS, ("keras.metrics",)),
    (known.OPTIMIZERS, ("keras.optimizers", "keras.mixed_precision")),
    (known.POLICIES, ("keras", "keras.dtype_policies", "keras.mixed_precision")),
    (known.QUANTIZERS, ("keras.quantizers",)),
    (known.SEEDS, ("keras.random",)),
    (known.APPLICATIONS, ("keras.applications",)),
    (OPERATIONS, ("keras.ops",)),
    (ACTIVATION_OPERATIONS, ("keras.activations",)),
    (QUANTIZER_OPERATIONS, ("keras.quantizers",)),
    (
        frozenset({"function"}),
        (
            "keras.activations",
            "keras.constraints",
            "keras.initializers",
            "keras.losses",
            "keras.metrics",
            "keras.ops",
            "keras.regularizers",
        ),
    ),
)


def at_home(class_name: str, module: str | None) -> bool:
    """Whether `class_name` is Keras' own, and `module` one that has it.

    Without a module, as files before Keras 3 have it, Keras looks among its own.
    """
    return any(
        class_name in names and (module is None or _is_one_of(module, homes))
        for names, homes in _HOMES
    )


def refused_operation(class_name: str, module: str | None) -> str | None:
    """Why no file may hold this operation of Keras' own; `None` for all else."""
    reason = REFUSED_OPERATIONS.get(class_name)
    own = module is None or _is_one_of(module, ("keras.ops",))
    return reason if own else None


def package(module: str | None) -> str:
    """The package of `module`; empty where that is no module's name."""
    return module.partition(".")[0] if module and _DOTTED.fullmatch(module) else ""


def _is_one_of(module: str, homes: tuple[str, ...]) -> bool:
    if package(module) not in ("keras", "tf_keras"):
        return False

    public = re.sub(r"^(tf_)?keras(\.src)?", "keras", module)
    return any(
        public == home or (home != "keras" and public.startswith(f"{home}."))
        for home in homes
    )
