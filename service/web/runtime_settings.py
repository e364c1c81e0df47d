"""Settings that are changed while the server runs."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from inference import InvalidRequest
from service.settings.messages import reason, setting_of
from service.settings.settings import Settings
from service.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from service.settings.rereading import Reread
    from service.web.application import ConcurrentFlask
    from service.web.context import Serving

    Apply = Callable[[Settings], None]

RUNTIME_SETTINGS = "runtime settings"
"""The key of an application's `RuntimeSettings` among its extensions."""

log = structlog.get_logger("tandem.settings")


class RuntimeSettings:
    """The settings in force, and how some of them are changed.

    For the event loop's thread.
    """

    def __init__(self, settings: Settings, applied_by: Mapping[str, Apply]) -> None:
        self._settings = settings
        self._applied_by = applied_by

    def values(self) -> dict[str, Any]:
        """Return the settings that can be changed, as they are now."""
        return {name: getattr(self._settings, name) for name in self._applied_by}

    def change(self, changes: Mapping[str, object]) -> None:
        """Change settings by name: all or, on an error, none. Raise `InvalidRequest`.

        Values are as in a settings file: `"4GiB"`, `64`.
        """
        changed = self._settings.model_copy()

        for name, value in changes.items():
            self._check(name)
            _assign(changed, name, value)

        self._apply(changed, changes)

    def adopt(self, reread: Reread) -> None:
        """Take over what has changed and can be changed."""
        values = {
            name: getattr(reread.now, name)
            for name in reread.changed
            if name in self._applied_by
        }
        fixed = [name for name in reread.changed if name not in self._applied_by]
        self._apply(self._settings.model_copy(update=values), values)
        log.info("settings read again", changed=values)

        if fixed:
            log.warning("settings not changed: they need a restart", settings=fixed)

    def _check(self, name: str) -> None:
        if name in self._applied_by:
            return

        these = ", ".join(self._applied_by)
        if name in Settings.model_fields:
            raise InvalidRequest(
                f"{name} can't be changed while the server runs: set it with "
                f"--{name.replace('_', '-')} and restart. These can: {these}."
            )

        close = difflib.get_close_matches(name, Settings.model_fields, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise InvalidRequest(
            f"there is no setting {name[:80]!r}.{hint} These can be changed: {these}."
        )

    def _apply(self, changed: Settings, names: Iterable[str]) -> None:
        self._settings = changed
        for name in names:
            self._applied_by[name](changed)


def changes_of(app: ConcurrentFlask, serving: Serving) -> dict[str, Apply]:
    """Return the settings that an application can change, and what changes them."""
    engine = serving.engine

    def limit_body(settings: Settings) -> None:
        app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes

    def limit_bodies(settings: Settings) -> None:
        serving.body_budget.limit = settings.max_bodies_bytes

    return {
        "log_level": lambda to: configure_logging(to.log_format, to.log_level),
        "max_body_bytes": limit_body,
        "max_bodies_bytes": limit_bodies,
        "max_queue": lambda to: engine.limit_queues(to.max_queue),
        "memory_budget": lambda to: engine.limit_memory(to.memory_budget),
    }


def _assign(settings: Settings, name: str, value: object) -> None:
    """Set a value, checked as one from a file. Raise `InvalidRequest`."""
    try:
        Settings.__pydantic_validator__.validate_assignment(settings, name, value)
    except ValidationError as exc:
        [error, *_] = exc.errors()
        place = setting_of(error) or name
        raise InvalidRequest(f"{place}: {reason(error)}, got {value!r}") from None
