"""Models, and nothing of HTTP: the names the service may use."""

from inference.allocation import keep_freed_memory
from inference.batching import Batching
from inference.binding import bind, show_shape
from inference.composites import (
    Output,
    Ragged,
    Sparse,
    by_whole,
    put_together,
    whole_shape,
)
from inference.cpus import available_cpus
from inference.dtypes import WIDENED
from inference.engine import Engine
from inference.engine_config import EngineConfig
from inference.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    InferenceError,
    InputMismatch,
    InvalidModel,
    InvalidRequest,
    InvalidSidecar,
    LoadFailed,
    ModelLoading,
    ModelNotFound,
    ModelUnloaded,
    Overloaded,
    Unavailable,
    UnknownSignature,
    VersionNotFound,
)
from inference.limits import Limits
from inference.permissions import Permissions
from inference.precompilation import Precompilation, Precompiled, precompile
from inference.sidecar import LABEL, VersionNumber
from inference.types import (
    UNNAMED,
    Array,
    EngineStatus,
    Load,
    ModelId,
    ModelSpec,
    ModelState,
    ModelStatus,
    Numbers,
    Part,
    PredictRequest,
    PredictResult,
    Sample,
    Shape,
    Signature,
    TensorSpec,
)

__all__ = [
    "LABEL",
    "UNNAMED",
    "WIDENED",
    "Array",
    "Batching",
    "DeadlineExceeded",
    "Engine",
    "EngineConfig",
    "EngineStatus",
    "ExecutionFailed",
    "InferenceError",
    "InputMismatch",
    "InvalidModel",
    "InvalidRequest",
    "InvalidSidecar",
    "Limits",
    "Load",
    "LoadFailed",
    "ModelId",
    "ModelLoading",
    "ModelNotFound",
    "ModelSpec",
    "ModelState",
    "ModelStatus",
    "ModelUnloaded",
    "Numbers",
    "Output",
    "Overloaded",
    "Part",
    "Permissions",
    "Precompilation",
    "Precompiled",
    "PredictRequest",
    "PredictResult",
    "Ragged",
    "Sample",
    "Shape",
    "Signature",
    "Sparse",
    "TensorSpec",
    "Unavailable",
    "UnknownSignature",
    "VersionNotFound",
    "VersionNumber",
    "available_cpus",
    "bind",
    "by_whole",
    "keep_freed_memory",
    "precompile",
    "put_together",
    "show_shape",
    "whole_shape",
]
