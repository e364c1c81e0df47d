"""The name and version of the package."""

from __future__ import annotations

import importlib.metadata

DISTRIBUTION = "tandem-serving"
VERSION = importlib.metadata.version(DISTRIBUTION)
