"""A decoder process: reads each body from a shared buffer and writes its arrays there.

Parsing holds the interpreter's lock for as long as it takes, so a thread of the server
would stop its event loop; a process doesn't. Run as
`python -m service.decoding.worker FD`, with the buffer's file descriptor. It ends when
the server closes its stdin.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from typing import IO, TYPE_CHECKING

from inference import InferenceError, InsufficientMemory, bind, keep_freed_memory
from service.codecs.tfserving.request import PredictCall
from service.decoding.messages import ANSWER, REQUEST, Answer, Task, pack
from service.decoding.shared_memory import SharedBuffer, aligned

if TYPE_CHECKING:
    from service.decoding.messages import DecodedCall

NICENESS = 5  # the server's event loop has priority


def main() -> None:
    # Ctrl-C is for the server, which ends its decoders itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    keep_freed_memory()
    # Parsed values are freed by reference counting; the collector would walk them.
    gc.disable()
    # Anything printed by mistake must not get between the messages.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        shared = SharedBuffer(int(sys.argv[1]))
        while serve_one(sys.stdin.buffer, answers, shared):
            pass


def serve_one(requests: IO[bytes], answers: IO[bytes], shared: SharedBuffer) -> bool:
    """Answer the next request; return `False` at the end of the input."""
    head = requests.read(REQUEST.size)
    if len(head) < REQUEST.size:
        return False

    task_size, body_size = REQUEST.unpack(head)
    task: Task = pickle.loads(requests.read(task_size))
    answer, buffers = decode_task(shared.read(0, body_size), task)
    offset = answer.offset
    for buffer in buffers:
        shared.write(offset, buffer)
        offset = aligned(offset + len(buffer))

    text = pickle.dumps(answer)
    answers.write(ANSWER.pack(len(text)) + text)
    answers.flush()
    return True


def decode_task(body: bytes, task: Task) -> tuple[Answer, list[memoryview]]:
    """Decode and bind a body; return the answer and its buffers."""
    try:
        call = task.decode(body)
        signature = task.signatures.get(call.signature or task.default or "")
        # The engine refuses an unknown signature, with the known ones in its text.
        exact = call.exact if isinstance(call, PredictCall) else None
        inputs = bind(signature, call.inputs, exact) if signature else {}
    except InferenceError as exc:
        return Answer(error=(type(exc).__name__, str(exc))), []
    except MemoryError:
        exhausted = InsufficientMemory()
        return Answer(error=(type(exhausted).__name__, str(exhausted))), []
    except Exception as exc:
        return Answer(error=("", f"{type(exc).__name__}: {exc}")), []

    packed = [pack(name, array) for name, array in inputs.items()]
    tensors = [tensor for tensor, _ in packed]
    answer = Answer(
        offset=aligned(len(body)),
        call=_without_inputs(call),
        tensors=tensors,
    )
    return answer, [buffer for _, buffers in packed for buffer in buffers]


def _without_inputs(call: DecodedCall) -> DecodedCall:
    bare = call._replace(inputs={})
    # Bound already; and it holds the body.
    return bare._replace(exact=None) if isinstance(bare, PredictCall) else bare


if __name__ == "__main__":
    main()
