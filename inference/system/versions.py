"""The installed versions of this project and of TensorFlow."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

_DISTRIBUTION = "tandem-serving"
_BUILDS_OF = {"tensorflow": ("tensorflow", "tensorflow-cpu")}
"""Distributions of one version that install the same package."""


def own_version() -> str:
    """Return the version, or `unknown` for a checkout that isn't installed."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def version_of(package: str) -> str:
    """Return the version of a package, whichever of its builds is installed.

    Raise `PackageNotFoundError` if none is.
    """
    for name in _BUILDS_OF.get(package, ()):
        with suppress(PackageNotFoundError):
            return version(name)

    return version(package)
