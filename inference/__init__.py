"""Inference without HTTP: the names that the service may use."""

from inference.artifacts.precompile import Precompilation, Precompiled, precompile
from inference.config import EngineConfig
from inference.dtypes import WIDENED
from inference.engine import Engine
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
from inference.inputs.binding import bind, show_shape
from inference.inputs.composites import (
    Output,
    Ragged,
    Sparse,
    by_whole,
    put_together,
    whole_shape,
)
from inference.inputs.selection import select_outputs
from inference.inputs.top_k import check_top_k
from inference.limits import Batching, Limits
from inference.permissions import Permissions
from inference.repository.sidecar import LABEL, VersionNumber
from inference.system.cpus import available_cpus
from inference.system.memory import keep_freed_memory, show_bytes
from inference.types import (
    UNNAMED,
    Array,
    EngineStatus,
    ModelId,
    ModelSpec,
    ModelState,
    ModelStatus,
    Numbers,
    Part,
    PredictRequest,
    PredictResult,
    QueueStats,
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
    "QueueStats",
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
    "check_top_k",
    "keep_freed_memory",
    "precompile",
    "put_together",
    "select_outputs",
    "show_bytes",
    "show_shape",
    "whole_shape",
]
