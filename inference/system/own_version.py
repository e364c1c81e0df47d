"""The installed version of this project."""

from importlib.metadata import PackageNotFoundError, version

_DISTRIBUTION = "tandem-serving"


def own_version() -> str:
    """Return the version, or `unknown` for a checkout that isn't installed."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
