"""Train the demo models, one of each format: `python -m demo.make_models FOLDER`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Writer = Callable[[Path], str]

SEED = 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m demo.make_models", description=__doc__
    )
    parser.add_argument("folder", type=Path, nargs="?", help="must be empty or new")
    parser.add_argument(
        "--digit", type=Path, metavar="FILE", help="write a request body there"
    )
    arguments = parser.parse_args()

    if arguments.folder is None and arguments.digit is None:
        parser.error("name a FOLDER for the models, or a --digit FILE")

    if arguments.digit is not None:
        write_digit(arguments.digit)

    if arguments.folder is not None:
        return make_models(arguments.folder.absolute())

    return 0


def write_digit(path: Path) -> None:
    from demo.digits import request_body

    path.write_text(request_body(), "utf-8")


def make_models(folder: Path) -> int:
    """Fill `folder` with all the demo models, or none; return an exit status."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        print(f"{folder} is not empty; name a new folder.", file=sys.stderr)
        return 1

    folder.parent.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".models-") as scratch:
        # mkdtemp's own folder is private; another user may serve this one.
        made = Path(scratch, "models")
        made.mkdir()
        write_models(made)
        made.rename(folder)

    return 0


def write_models(folder: Path) -> None:
    """Write each model into `folder`, and print its score."""
    writers = _writers()
    _settle_chance()
    width = max(map(len, writers))

    for name, write in writers.items():
        started = time.monotonic()
        result = write(folder / name)
        seconds = time.monotonic() - started
        print(f"{name:{width}}  {result}, {seconds:.1f} s", flush=True)


def _writers() -> dict[str, Writer]:
    """Return the writers by the name of the file or folder that each makes."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # Keras warns of every `.h5`, TensorFlow of its version 1.
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)

    # Imported first, because it keeps TensorFlow's libraries quiet.
    from inference.backend import quiet_stderr

    with quiet_stderr():
        from demo.digits_cnn import write_digits_cnn
        from demo.digits_graph import write_digits_graph
        from demo.half_plus_two import write_half_plus_two
        from demo.wine import write_wine

    return {
        "digits_cnn.h5": write_digits_cnn,
        "digits.pb": write_digits_graph,
        "half_plus_two": write_half_plus_two,
        "wine.keras": write_wine,
    }


def _settle_chance() -> None:
    import keras

    from inference.backend import tf

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()


if __name__ == "__main__":
    sys.exit(main())
