"""Foreign errors in one line."""

MAX_LENGTH = 500
_PLACE = "Node: "


def first_line(error: BaseException) -> str:
    """What `error` says, without the stack that TensorFlow and Keras put around it.

    An error inside a graph is told as a heading, where it was defined, the node, and
    only then what went wrong.
    """
    text = str(getattr(error, "message", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    places = [number for number, line in enumerate(lines) if line.startswith(_PLACE)]
    telling = lines[places[0] + 1 :] if places else lines
    return telling[0][:MAX_LENGTH] if telling else type(error).__name__
