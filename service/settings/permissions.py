"""The operator's permissions for model files, from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference import Permissions, unknown_operations
from service.settings.settings import SettingsError

if TYPE_CHECKING:
    from service.settings.compiler import CompilerSettings


def permissions_of(settings: CompilerSettings) -> Permissions:
    """Return the permissions. Raise `SettingsError` for an operation there isn't."""
    # Most servers allow none, and need no TensorFlow yet.
    unknown = unknown_operations(settings.allow_ops) if settings.allow_ops else {}
    if unknown:
        raise SettingsError("\n".join(map(_describe, unknown.items())))

    return Permissions(
        allow_ops=settings.allow_ops,
        allow_classes=settings.allow_classes,
        follow_links_to=settings.follow_links_to,
    )


def _describe(unknown: tuple[str, list[str]]) -> str:
    name, close = unknown
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return (
        "allow_ops (--allow-ops or TANDEM_ALLOW_OPS): TensorFlow has no operation "
        f"{name}{hint}"
    )
