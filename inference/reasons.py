"""Foreign errors in one line."""

import re

MAX_LENGTH = 500
_PLACE = "Node: "
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_HEADINGS = ("Graph execution error:", "Detected at node", "defined at")


def first_line(error: BaseException) -> str:
    """What `error` says, without the stack that TensorFlow and Keras put around it.

    An error inside a graph is told as a heading, where it was defined, the node, and
    only then what went wrong.
    """
    text = str(getattr(error, "message", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    places = [number for number, line in enumerate(lines) if line.startswith(_PLACE)]
    after = lines[places[0] + 1 :] if places else lines
    telling = [line for line in after if not line.startswith(_HEADINGS)]
    return telling[0][:MAX_LENGTH] if telling else type(error).__name__


def printable(text: str) -> str:
    """`text` as terminals and logs may have it: names in files have any characters."""
    return "".join(map(_shown, _COLOURS.sub("", text)))


def _shown(char: str) -> str:
    return char if char.isprintable() else f"\\x{ord(char):02x}"
