"""Inputs with fewer positions than a convolution's filter covers, and their refusal."""

from __future__ import annotations

import re

CHECK = "tandem/covers"
"""Begins the name of a node that refuses what is too short; its convolution follows."""

# `Slice` says so in TensorFlow 2.21, core/kernels/slice_op.cc.
_TOO_SHORT = re.compile(
    r"Expected size\[(?P<axis>\d+)\] in \[0, (?P<length>\d+)\], but got (?P<least>\d+)"
    rf".*\{{node \S*{CHECK}/(?P<place>[^\s}}]+)/check\}}",
    re.DOTALL,
)


def explain(error: Exception) -> str | None:
    """Return what was too short for which convolution, if that is what `error` says."""
    match = _TOO_SHORT.search(str(error))

    if match is None:
        return None

    return (
        f"The convolution '{match['place']}' needs {match['least']} positions or more "
        f"along axis {match['axis']} of its input, and got {match['length']}. Send a "
        "longer input, or pad it."
    )
