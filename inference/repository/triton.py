"""Triton's `config.pbtxt`: the little of it that is read, and what is passed over."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from inference.repository.traversal import BadEntry

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = "config.pbtxt"
MAX_BYTES = 2**18

# Where a key stands in a line of its own, as in text that people and tools write.
_FILENAME = re.compile(
    r"""^\s*default_model_filename\s*:\s*["']([^"'\\\n]+)["']""", re.M
)
_KEY = re.compile(r"^\s*([a-z_]+)\s*[:\[{]", re.M)

# What changes answers in Triton (its model_config.proto), and what to do here.
_CURES = {
    "ensemble_scheduling": "models aren't chained",
    "model_warmup": "put requests into warmup.jsonl",
    "reshape": "clients send the model's own shapes",
    "sequence_batching": "requests are independent of each other",
    "version_policy": "say `versions` in model.toml",
}


def read_config(path: Path) -> str:
    """The text of a `config.pbtxt`. Raises `BadEntry`, `OSError`."""
    if path.stat().st_size > MAX_BYTES:
        raise BadEntry(f"{path.name} has more than {MAX_BYTES} bytes.")

    return path.read_bytes().decode("utf-8", errors="replace")


def model_filename(config: str) -> str | None:
    """The name that a version's file or folder has there, if it isn't the usual one.

    Raises `BadEntry` for one that leads elsewhere.
    """
    found = _FILENAME.search(config)

    if found is None:
        return None

    if "/" in found[1] or found[1].startswith("."):
        raise BadEntry(
            f"{CONFIG}: default_model_filename '{found[1]}' isn't the name of a file "
            "in the version's folder."
        )

    return found[1]


def passed_over(config: str) -> str | None:
    """Return what it asks for that isn't done, as text; `None` if there is nothing."""
    keys = sorted(set(_KEY.findall(config)) & _CURES.keys())

    if not keys:
        return None

    said = "; ".join(f"{key}: {_CURES[key]}" for key in keys)
    return f"only default_model_filename is read of it ({said})."
