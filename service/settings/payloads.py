"""Where payloads are logged, as a setting."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit


def payload_place(text: str) -> str:
    """Return a URL as it is, or a file's whole path. Raise `ValueError`."""
    parts = urlsplit(text)
    if parts.scheme in ("http", "https"):
        if not parts.hostname:
            raise ValueError("names no host; write http://HOST:PORT/PATH")

        return text

    if "://" in text:
        raise ValueError("must be a file, or a URL of http or https")

    path = Path(os.path.abspath(Path(text).expanduser()))
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file")

    if not path.parent.is_dir():
        raise ValueError(f"there is no folder {path.parent}")

    return str(path)
