"""Settings read again while the server runs, and who wants to know of them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from service.settings.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Adopt = Callable[["Reread"], None]

log = structlog.get_logger("tandem.settings")

_adopters: list[Adopt] = []


class Reread(NamedTuple):
    """The settings as they were read before, and as they are now."""

    before: Settings
    now: Settings

    @property
    def changed(self) -> list[str]:
        """The names of settings that differ."""
        return [
            name
            for name in Settings.model_fields
            if getattr(self.before, name) != getattr(self.now, name)
        ]


class SettingsReader:
    """Reads settings again, with the flags and variables of the start.

    To be made before the server sets variables for the processes that it starts.
    """

    def __init__(self, settings: Settings, flags: Mapping[str, Any]) -> None:
        self._last = settings
        self._flags = flags
        self._environ = dict(os.environ)

    def read(self) -> Reread | None:
        """Return the settings; `None`, with an error in the log, if they are wrong."""
        try:
            now = load_settings(environ=self._environ, **self._flags)
        except SettingsError as exc:
            log.error("settings not read again", reason=str(exc))
            return None

        reread, self._last = Reread(self._last, now), now
        return reread

    def read_for_all(self) -> None:
        """Let all who wait for settings have them anew."""
        reread = self.read()
        if reread is None:
            return

        for adopt in _adopters:
            adopt(reread)


@contextmanager
def adopting(adopt: Adopt) -> Iterator[None]:
    """Have `adopt` called with settings that are read again while the block runs."""
    _adopters.append(adopt)
    try:
        yield
    finally:
        _adopters.remove(adopt)
