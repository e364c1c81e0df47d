"""The version of this project that is installed."""

from importlib.metadata import PackageNotFoundError, version

_DISTRIBUTION = "tandem-serving"


def own_version() -> str:
    """`unknown` where it runs from a checkout that isn't installed."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
