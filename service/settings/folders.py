"""The folders that the server writes to where none are set."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def default_cache_dir() -> Path:
    """Return the cache folder of the XDG base directory specification."""
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification says to ignore a relative path.
    return (root if root.is_absolute() else Path.home() / ".cache") / "tandem"


def default_data_dir(models: Path) -> Path:
    """Return a folder for the jobs of these models, by the XDG specification.

    Servers of other models have folders of their own, as none may run another's jobs.
    """
    root = Path(os.environ.get("XDG_STATE_HOME", ""))
    state = root if root.is_absolute() else Path.home() / ".local/state"
    place = hashlib.sha256(os.fsencode(models.resolve())).hexdigest()[:12]
    return state / "tandem" / f"{models.resolve().name or 'models'}-{place}"
