"""Inference without HTTP: the names that the service may use."""

from inference.artifacts.inventory import (
    CachedArtifact,
    disk_bytes,
    inventory,
    prune,
)
from inference.artifacts.precompile import Precompilation, Precompiled, precompile
from inference.background import background_calls
from inference.config import EngineConfig
from inference.dtypes import WIDENED, numpy_dtype
from inference.engine import Engine
from inference.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    InferenceError,
    InputMismatch,
    InsufficientMemory,
    InvalidModel,
    InvalidRequest,
    InvalidSidecar,
    LabelNotFound,
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
from inference.inputs.casting import cast_inputs
from inference.inputs.composites import (
    Output,
    Ragged,
    Sparse,
    by_whole,
    put_together,
    whole_shape,
)
from inference.inputs.images import encoded_images, layout_of
from inference.inputs.narrowing import depends_on_text, narrow
from inference.inputs.seeds import MAX_SEED, draws_afresh
from inference.inputs.selection import check_request, select_outputs
from inference.lifecycle.instance import Instance
from inference.limits import Batching, Limits
from inference.offline import OfflineModel, open_model
from inference.permissions import Permissions
from inference.repository.sidecar import LABEL, VersionNumber
from inference.runtime.operations import unknown_operations
from inference.system.cpus import available_cpus
from inference.system.memory import available_memory, keep_freed_memory, show_bytes
from inference.types import (
    NO_SAMPLING,
    UNNAMED,
    Array,
    BatchStatistics,
    CachePolicy,
    Duration,
    EngineStatus,
    InferenceStatistics,
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
    Sampling,
    Shape,
    Signature,
    TensorSpec,
    Times,
)

__all__ = [
    "LABEL",
    "MAX_SEED",
    "NO_SAMPLING",
    "UNNAMED",
    "WIDENED",
    "Array",
    "BatchStatistics",
    "Batching",
    "CachePolicy",
    "CachedArtifact",
    "DeadlineExceeded",
    "Duration",
    "Engine",
    "EngineConfig",
    "EngineStatus",
    "ExecutionFailed",
    "InferenceError",
    "InferenceStatistics",
    "InputMismatch",
    "Instance",
    "InsufficientMemory",
    "InvalidModel",
    "InvalidRequest",
    "InvalidSidecar",
    "LabelNotFound",
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
    "OfflineModel",
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
    "Sampling",
    "Shape",
    "Signature",
    "Sparse",
    "TensorSpec",
    "Times",
    "Unavailable",
    "UnknownSignature",
    "VersionNotFound",
    "VersionNumber",
    "available_cpus",
    "available_memory",
    "background_calls",
    "bind",
    "by_whole",
    "cast_inputs",
    "check_request",
    "depends_on_text",
    "disk_bytes",
    "draws_afresh",
    "encoded_images",
    "inventory",
    "keep_freed_memory",
    "layout_of",
    "narrow",
    "numpy_dtype",
    "open_model",
    "precompile",
    "prune",
    "put_together",
    "select_outputs",
    "show_bytes",
    "show_shape",
    "unknown_operations",
    "whole_shape",
]
