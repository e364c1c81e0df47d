"""The token for the admin calls, from a file that may change at any time."""

from __future__ import annotations

import hmac
import re
import stat
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

if TYPE_CHECKING:
    from pathlib import Path

MIN_CHARS = 16
MAX_CHARS = 4096
INSTRUCTIONS = "write one with: openssl rand -hex 32 > FILE; chmod 600 FILE"

# One word of a header.
_TOKEN = re.compile(rb"[\x21-\x7e]+")

log = structlog.get_logger("tandem.admin")


def read_token(path: Path) -> bytes:
    """Return the token in `path`, without the white space around it.

    Raise `ValueError` if there is no usable token or everybody may write the file; the
    text says what to do, and never quotes the file.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            token = file.read(MAX_CHARS + 1).strip()
    except OSError as exc:
        raise ValueError(f"{path} can't be read: {exc.strerror}") from exc

    if mode & stat.S_IWOTH:
        raise ValueError(f"everybody may write {path}: chmod o-w {path}")

    check_token(token, str(path))
    return token


def check_token(token: bytes, place: str) -> None:
    """Raise `ValueError` for an unusable token; the text names `place`, its source."""
    if not token:
        raise ValueError(f"{place} is empty; {INSTRUCTIONS}")

    if not MIN_CHARS <= len(token) <= MAX_CHARS:
        raise ValueError(
            f"the token in {place} must have {MIN_CHARS} to {MAX_CHARS} characters;"
            f" {INSTRUCTIONS}"
        )

    if not _TOKEN.fullmatch(token):
        raise ValueError(
            f"the token in {place} must be one word of ASCII; {INSTRUCTIONS}"
        )


class AdminToken:
    """The token that clients must send, read from its file for each call.

    While the file is unusable, the last usable token stays valid. Raises `ValueError`
    if there is none at first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = read_token(path)
        self._limiter = anyio.CapacityLimiter(1)
        self._warn_of_readers()

    async def matches(self, sent: bytes) -> bool:
        """Return whether `sent` is the token, in constant time."""
        # Read each time, because Kubernetes rotates secrets in place.
        await anyio.to_thread.run_sync(self._refresh, limiter=self._limiter)
        return hmac.compare_digest(self._token, sent)

    def _refresh(self) -> None:
        try:
            self._token = read_token(self._path)
        except ValueError as exc:
            log.warning("keeping the previous admin token", reason=str(exc))

    def _warn_of_readers(self) -> None:
        # Not refused: Kubernetes mounts secrets with mode 0644.
        if self._path.stat().st_mode & stat.S_IROTH:
            log.warning(
                "every user of this machine can read the admin token",
                fix=f"chmod o-r {self._path}",
            )
