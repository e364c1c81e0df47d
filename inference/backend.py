"""TensorFlow, imported once, quietly, with the settings that every session needs."""

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# One intra-op pool per session: without this the first session's size is everyone's.
os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what native code prints to stderr; show it if the block fails.

    A process that has something to print meanwhile needs a copy of descriptor 2.
    """
    # TensorFlow's libraries write to it while they load, whatever the log level.
    sys.stderr.flush()
    kept = os.dup(2)

    with tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 2)

        try:
            yield
        except BaseException:
            noise.seek(0)
            os.write(kept, noise.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def without_keras() -> Iterator[None]:
    """Keep TensorFlow from importing Keras; code that needs Keras imports it later."""
    # It imports Keras for side effects, and takes `None` for Keras not being there.
    sys.modules["keras"] = None  # type: ignore[assignment]

    try:
        yield
    finally:
        del sys.modules["keras"]


@contextmanager
def uncollected_import() -> Iterator[None]:
    """Keep the garbage collector from walking what the block imports, now or later."""
    # TensorFlow brings 300,000 objects that live as long as the process. Collections
    # take a fifth of its import's time, and a full one would then stop a server for
    # 180 ms. Models come later: their cycles are collected, in less than a millisecond
    # each.
    enabled = gc.isenabled()
    gc.disable()

    try:
        yield
    finally:
        gc.freeze()

        if enabled:
            gc.enable()


with quiet_stderr(), without_keras(), uncollected_import():
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2
    from tensorflow.python.util import _pywrap_util_port

tf1 = tf.compat.v1


def onednn_enabled() -> bool:
    """Return whether TensorFlow uses oneDNN: by CPU, or by `TF_ENABLE_ONEDNN_OPTS`.

    Graphs that it optimizes then have fused operations that need oneDNN to run.
    """
    return bool(_pywrap_util_port.IsMklEnabled())


__all__ = [
    "config_pb2",
    "onednn_enabled",
    "quiet_stderr",
    "tf",
    "tf1",
    "uncollected_import",
    "without_keras",
]
