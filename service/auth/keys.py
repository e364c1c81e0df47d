"""API keys: who may ask which models how often, from a file that may change."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Stamp = tuple[int, int, int, int]

KEY_PREFIX = "tdm_"
MAX_FILE_BYTES = 4 << 20
RELOAD_SECONDS = 1.0
INSTRUCTIONS = "write a line with: tandem keys new NAME >> FILE"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")

log = structlog.get_logger("tandem.keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key by its hash; `models` `None` are all, `rate` is requests a second."""

    name: str
    digest: bytes
    models: frozenset[str] | None = None
    rate: float | None = None

    def allows(self, model: str) -> bool:
        return self.models is None or model in self.models


def new_key() -> str:
    """Return a random key of 256 bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest_of(key: bytes) -> bytes:
    # Not a slow password hash: a random key of 256 bits can't be guessed, however fast
    # guesses are, and a slow one would cost each request its milliseconds.
    return hashlib.sha256(key).digest()


def key_line(
    name: str, key: str, models: Iterable[str] = (), rate: float | None = None
) -> str:
    """Return the line of a key for the file. Raise `ValueError` for bad values."""
    _check_name(name)
    fields = [name, f"sha256:{digest_of(key.encode()).hex()}"]
    if listed := ",".join(models):
        fields.append(f"models={listed}")

    if rate is not None:
        fields.append(f"rate={rate:g}")

    line = " ".join(fields)
    _parse_line(line)
    return line


def parse_keys(text: str) -> dict[bytes, ApiKey]:
    """Return the keys of a file's text by hash.

    Raise `ValueError` with the number of each wrong line; the text quotes no hash.
    """
    keys: dict[bytes, ApiKey] = {}
    names: dict[str, int] = {}
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue

        try:
            key = _parse_line(content)
            if key.name in names:
                line_before = names[key.name]
                raise ValueError(f"line {line_before} has the name {key.name}, too")

            if key.digest in keys:
                raise ValueError(f"the key is that of {keys[key.digest].name}, too")
        except ValueError as exc:
            problems.append(f"line {number}: {exc}")
            continue

        keys[key.digest] = key
        names[key.name] = number

    if problems:
        raise ValueError("; ".join(problems))

    return keys


def _parse_line(line: str) -> ApiKey:
    name, *rest = line.split()
    digest = _DIGEST.fullmatch(rest[0]) if rest else None
    _check_name(name)
    if digest is None:
        raise ValueError(
            "the name is followed by sha256: and 64 lowercase hexadecimal digits, as"
            " `tandem keys hash NAME` writes them"
        )

    options: dict[str, str] = {}
    for word in rest[1:]:
        option, _, value = word.partition("=")
        if option not in ("models", "rate") or option in options:
            raise ValueError(f"{option!r} is repeated, or neither models= nor rate=")

        options[option] = value

    return ApiKey(
        name=name,
        digest=bytes.fromhex(digest[1]),
        models=_models(options.get("models")),
        rate=_rate(options.get("rate")),
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError("a name has 1 to 64 of the characters A-Z a-z 0-9 . _ -")


def _models(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None

    names = text.split(",")
    if not all(names):
        raise ValueError("models= needs names with commas between: models=iris,digits")

    return frozenset(names)


def _rate(text: str | None) -> float | None:
    if text is None:
        return None

    try:
        rate = float(text)
    except ValueError:
        rate = math.nan

    if not 0 < rate < math.inf:
        raise ValueError("rate= needs requests a second, a number above 0: rate=50")

    return rate


def read_keys(path: Path) -> dict[bytes, ApiKey]:
    """Return the keys in `path` by hash.

    Raise `ValueError`, which says what to do, for a file that can't be read, has wrong
    lines or no key, or that everybody may write.
    """
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ValueError(f"{path} can't be read: {exc.strerror}") from exc

    if mode & stat.S_IWOTH:
        raise ValueError(f"everybody may write {path}: chmod o-w {path}")

    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{path} has more than {MAX_FILE_BYTES} bytes")

    try:
        keys = parse_keys(content.decode())
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    except ValueError as exc:
        raise ValueError(f"{path}, {exc}") from None

    if not keys:
        raise ValueError(f"{path} has no key; {INSTRUCTIONS}")

    return keys


class Quota:
    """A token bucket of one second's requests, and of one at least."""

    __slots__ = ("_at", "_left", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._left = max(1.0, rate)
        self._at = now

    def take(self, now: float) -> float:
        """Take one request; return 0, or the seconds until there is room for it."""
        left = self._left + (now - self._at) * self.rate
        self._left, self._at = min(left, max(1.0, self.rate)), now
        if self._left < 1:
            return (1 - self._left) / self.rate

        self._left -= 1
        return 0.0


class ApiKeys:
    """The keys of a file, and what each has left of its quota. For one event loop.

    `share` is this process's part of each quota. Raises `ValueError` for an unusable
    file; while it is unusable later, the last usable keys stay valid.
    """

    def __init__(
        self,
        path: Path,
        *,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._share = share
        self._clock = clock
        self._limiter = anyio.CapacityLimiter(1)
        self._quotas: dict[str, Quota] = {}
        self._stamp = _stamp(path)
        self._keys = read_keys(path)

    def find(self, sent: bytes) -> ApiKey | None:
        """Return the key that was sent, if it is known."""
        # What a look-up's time tells of a hash leads to no key with that hash.
        digest = digest_of(sent)
        key = self._keys.get(digest)
        known = key is not None and hmac.compare_digest(key.digest, digest)
        return key if known else None

    def take(self, key: ApiKey) -> float:
        """Count a request; return 0, or in how many seconds its quota has room."""
        if key.rate is None:
            return 0.0

        rate, now = key.rate * self._share, self._clock()
        quota = self._quotas.get(key.name)
        if quota is None or quota.rate != rate:
            quota = self._quotas[key.name] = Quota(rate, now)

        return quota.take(now)

    async def watch(self) -> None:
        """Read the file again whenever it has changed; never returns."""
        while True:
            await anyio.sleep(RELOAD_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the file again if it has changed since it was last read."""
        try:
            keys = await anyio.to_thread.run_sync(self._changed, limiter=self._limiter)
        except ValueError as exc:
            log.error("keeping the previous API keys", reason=str(exc))
            return

        if keys is not None:
            self._keys = keys
            names = {key.name for key in keys.values()}
            self._quotas = {n: q for n, q in self._quotas.items() if n in names}
            log.info("API keys read again", keys=len(keys))

    def _changed(self) -> dict[bytes, ApiKey] | None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return None

        # Kept even if the file is wrong: it is told once.
        self._stamp = stamp
        return read_keys(self._path)


def _stamp(path: Path) -> Stamp | None:
    """Return what changes with a file, also if a link above it leads elsewhere."""
    try:
        found = path.stat()
    except OSError:
        return None

    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
