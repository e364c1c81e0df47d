"""Foreign errors in one line."""

MAX_LENGTH = 500
_PLACE = "Node: "
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
