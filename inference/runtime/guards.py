"""Refusals by the checks that the compiler puts into a graph."""

from __future__ import annotations

import re

CHECK = "tandem/covers"
"""Begins the name of a node that refuses what is too short; its convolution follows."""

UNSAFE_IMAGE = "This image can't be decoded safely: "
"""Begins what stands in the place of a number, where an image must not be decoded."""

# `Slice` says so in TensorFlow 2.21, core/kernels/slice_op.cc.
_TOO_SHORT = re.compile(
    r"Expected size\[(?P<axis>\d+)\] in \[0, (?P<length>\d+)\], but got (?P<least>\d+)"
    rf".*\{{node \S*{CHECK}/(?P<place>[^\s}}]+)/check\}}",
    re.DOTALL,
)
# And `StringToNumber`, core/kernels/string_to_number_op.cc.
_UNSAFE = re.compile(rf"correctly convert string: ({UNSAFE_IMAGE}.*)")


def explain(error: Exception) -> str | None:
    """Return what a check of ours refused, if that is what `error` says."""
    text = str(error)

    if match := _UNSAFE.search(text):
        return match[1]

    if match := _TOO_SHORT.search(text):
        return (
            f"The convolution '{match['place']}' needs {match['least']} positions or "
            f"more along axis {match['axis']} of its input, and got "
            f"{match['length']}. Send a longer input, or pad it."
        )

    return None
