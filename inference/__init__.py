"""Models, and nothing of HTTP: the names the service may use."""

from inference.binding import bind, show_shape
from inference.cpus import available_cpus
from inference.engine import Engine, EngineConfig
from inference.errors import (
    ExecutionFailed,
    InferenceError,
    InputMismatch,
    InvalidModel,
    InvalidRequest,
    InvalidSidecar,
    LoadFailed,
    ModelLoading,
    ModelNotFound,
    Unavailable,
    UnknownSignature,
    VersionNotFound,
)
from inference.precompilation import Precompilation, Precompiled, precompile
from inference.types import (
    UNNAMED,
    Array,
    ModelId,
    ModelSpec,
    ModelState,
    ModelStatus,
    PredictRequest,
    PredictResult,
    Sample,
    Shape,
    Signature,
    TensorSpec,
)

__all__ = [
    "UNNAMED",
    "Array",
    "Engine",
    "EngineConfig",
    "ExecutionFailed",
    "InferenceError",
    "InputMismatch",
    "InvalidModel",
    "InvalidRequest",
    "InvalidSidecar",
    "LoadFailed",
    "ModelId",
    "ModelLoading",
    "ModelNotFound",
    "ModelSpec",
    "ModelState",
    "ModelStatus",
    "Precompilation",
    "Precompiled",
    "PredictRequest",
    "PredictResult",
    "Sample",
    "Shape",
    "Signature",
    "TensorSpec",
    "Unavailable",
    "UnknownSignature",
    "VersionNotFound",
    "available_cpus",
    "bind",
    "precompile",
    "show_shape",
]
