"""Triton's `config.pbtxt`: the one key that is read, and those that are ignored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from inference.repository.traversal import InvalidEntry

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = "config.pbtxt"
MAX_BYTES = 2**18

# Keys on a line of their own, as people and tools write them.
_FILENAME = re.compile(
    r"""^\s*default_model_filename\s*:\s*["']([^"'\\\n]+)["']""", re.M
)
_KEY = re.compile(r"^\s*([a-z_]+)\s*[:\[{]", re.M)

# What changes answers in Triton (its model_config.proto), and what to do here.
_ADVICE = {
    "ensemble_scheduling": "models aren't chained",
    "model_warmup": "put requests into warmup.jsonl",
    "reshape": "clients send the model's own shapes",
    "sequence_batching": "requests are independent of each other",
    "version_policy": "say `versions` in model.toml",
}


def read_config(path: Path) -> str:
    """Return the text of a `config.pbtxt`. Raises `InvalidEntry`, `OSError`."""
    if path.stat().st_size > MAX_BYTES:
        raise InvalidEntry(f"{path.name} has more than {MAX_BYTES} bytes.")

    return path.read_bytes().decode("utf-8", errors="replace")


def model_filename(config: str) -> str | None:
    """Return the configured name of a version's file or folder, if there is one.

    Raises `InvalidEntry` for a name that leads out of the version's folder.
    """
    found = _FILENAME.search(config)

    if found is None:
        return None

    if "/" in found[1] or found[1].startswith("."):
        raise InvalidEntry(
            f"{CONFIG}: default_model_filename '{found[1]}' isn't the name of a file "
            "in the version's folder."
        )

    return found[1]


def passed_over(config: str) -> str | None:
    """Describe the keys that have no effect here; `None` if there are none."""
    keys = sorted(set(_KEY.findall(config)) & _ADVICE.keys())

    if not keys:
        return None

    advice = "; ".join(f"{key}: {_ADVICE[key]}" for key in keys)
    return f"only its default_model_filename is read ({advice})."
