"""Operations that can't run on this machine, whatever they are given."""

from __future__ import annotations

import re

from inference.backend import tf
from inference.errors import first_line

# How TensorFlow 2.21 says it, in `core/framework/op_kernel.cc`,
# `core/common_runtime/eager/execute.cc` and `core/kernels/*.cc`.
_NO_KERNEL = re.compile(
    r"No OpKernel was registered|No registered '.*' OpKernel|"
    r"Could not find (valid )?device for node|only supports? (the )?NHWC|"
    r"only supports equal length strides|not supported on (the )?CPU|"
    r"Fusion is not implemented"
)
_OP = re.compile(r"(?:Op '(\w+)'|node: \{\{node [^}]*\}\} = (\w+)\[)")
_NODE = re.compile(r"\{\{node ([^}]+)\}\}|Node: '([^']+)'")

_CURES = {
    "Cudnn": "cuDNN's layers run on NVIDIA GPUs alone: build the model with plain LSTM "
    "and GRU layers, which take the same weights, and export it again.",
    "NHWC": "Export the model with its channels last (data_format='channels_last').",
}
_CURE = "Export the model without it, or with a dtype that TensorFlow computes on CPUs."


def cannot_run(error: Exception) -> str | None:
    """Return why, if TensorFlow has no kernel on this machine for an operation.

    Names the operation, the node or layer, and a cure. `None` for other errors, which
    other inputs may not meet.
    """
    said = str(getattr(error, "message", None) or error)
    return _reason(error, said) if _NO_KERNEL.search(said) else None


def cannot_compute(error: Exception) -> str | None:
    """Return why, if a kernel says that it doesn't implement what it is asked for.

    It may mean just these inputs, so one such error alone proves nothing.
    """
    if not isinstance(error, tf.errors.UnimplementedError):
        return None

    return _reason(error, str(error.message))


def cure_of(said: str) -> str:
    """Say what helps against an operation without a kernel, by what is said of it."""
    return next((cure for word, cure in _CURES.items() if word in said), _CURE)


def _reason(error: Exception, said: str) -> str:
    node_def = getattr(error, "node_def", None)
    op = node_def.op if node_def is not None else _first(_OP, said)
    node = node_def.name if node_def is not None else _first(_NODE, said)
    what = f"'{node}' ({op})" if op and node else f"'{node or op or 'an operation'}'"
    cause = first_line(error).rstrip(".")
    return f"{what} can't run on this machine: {cause}. {cure_of(op + said)}"


def _first(pattern: re.Pattern[str], said: str) -> str:
    match = pattern.search(said)
    return next((each for each in match.groups() if each), "") if match else ""
