"""The error text for inputs shorter than a convolution's filter."""

from __future__ import annotations

import re

CHECK = "tandem/covers"
"""Prefix of the names of nodes that refuse short inputs; the convolution's follows."""

# `Slice` says so in TensorFlow 2.21, core/kernels/slice_op.cc.
_TOO_SHORT = re.compile(
    r"Expected size\[(?P<axis>\d+)\] in \[0, (?P<length>\d+)\], but got (?P<least>\d+)"
    rf".*\{{node \S*{CHECK}/(?P<place>[^\s}}]+)/check\}}",
    re.DOTALL,
)


def explain(error: Exception) -> str | None:
    """Return which input was too short for which convolution, or `None`."""
    match = _TOO_SHORT.search(str(error))

    if match is None:
        return None

    return (
        f"The convolution '{match['place']}' needs {match['least']} positions or more "
        f"along axis {match['axis']} of its input, and got {match['length']}. Send a "
        "longer input, or pad it."
    )
