"""The errors of inference as one tree, and foreign errors in one line.

`service.web.errors` gives each class a status.

InferenceError
  + InvalidRequest
    - UnknownSignature
    - InputMismatch
  + ModelNotFound
    - VersionNotFound
      - LabelNotFound
  + InvalidModel
    - InvalidSidecar
  + Unavailable
    - ModelLoading
    - LoadFailed
    - ModelUnloaded
    - InsufficientMemory
  + Overloaded
  + DeadlineExceeded
  + ExecutionFailed
"""

import re

MAX_LENGTH = 500
"""Characters of a foreign error that are shown."""

NO_MEMORY = (
    "The server has too little memory for this request. Send fewer rows at a time, or "
    "try again when it has less to do."
)

_PLACE = "Node: "
_DEVICE = re.compile(r" on /job:\S+( by allocator \S+)?")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_HEADINGS = ("Graph execution error:", "Detected at node", "defined at")


class InferenceError(Exception):
    """Base of all errors; the text may be shown to clients.

    `retry_after` is the number of seconds after which a retry may help, if known.
    """

    retry_after: float | None = None

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        if retry_after is not None:
            self.retry_after = retry_after


class InvalidRequest(InferenceError):
    """The request can't be answered, whatever the state of the server."""


class UnknownSignature(InvalidRequest):
    """The model has no signature of the requested name."""


class InputMismatch(InvalidRequest):
    """The inputs don't fit the signature, or made the graph fail."""


class ModelNotFound(InferenceError):
    """No model of this name is in the repository."""


class VersionNotFound(ModelNotFound):
    """The model is there, the version isn't."""


class LabelNotFound(VersionNotFound):
    """The model has no label of the requested name."""


class InvalidModel(InferenceError):
    """A model file can't be served; the text names the cause and the remedy."""


class InvalidSidecar(InvalidModel):
    """The TOML file beside a model can't be read or contradicts the model."""


class Unavailable(InferenceError):
    """The model is known but can't answer now."""


class ModelLoading(Unavailable):
    """The version is being compiled or loaded; a later retry helps."""

    retry_after = 2.0


class LoadFailed(Unavailable):
    """The version could not be loaded; the text carries the reason."""


class ModelUnloaded(Unavailable):
    """The version was unloaded by an operator, or is being removed."""


class InsufficientMemory(Unavailable):
    """The machine has too little memory for the request now."""

    retry_after = 5.0

    def __init__(self, text: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(text or NO_MEMORY, retry_after=retry_after)


class Overloaded(InferenceError):
    """The queue is full, or the wait would be too long."""

    retry_after: float = 1.0


class DeadlineExceeded(InferenceError):
    """The request's time is over."""


class ExecutionFailed(InferenceError):
    """The model failed inside TensorFlow through no fault of the request."""


def first_line(error: BaseException) -> str:
    """Return a foreign error's message, without a stack or TensorFlow's devices.

    An error inside a graph comes as a heading, where it was defined, the node, and only
    then what went wrong.
    """
    text = _DEVICE.sub("", str(getattr(error, "message", None) or error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    places = [number for number, line in enumerate(lines) if line.startswith(_PLACE)]
    after = lines[places[0] + 1 :] if places else lines
    telling = [line for line in after if not line.startswith(_HEADINGS)]
    return telling[0][:MAX_LENGTH] if telling else type(error).__name__


def printable(text: str) -> str:
    """Escape what terminals and logs can't show: names in files have any characters."""
    return "".join(map(_shown, _COLOURS.sub("", text)))


def _shown(char: str) -> str:
    return char if char.isprintable() else f"\\x{ord(char):02x}"
