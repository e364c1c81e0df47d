"""Validators of settings, for pydantic."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from service.auth.keys import read_keys
from service.auth.token import read_token
from service.settings.quantities import read_size

REDIS_CACHE = "redis"
DEFAULT_CACHE = "256MiB"
REDIS_SCHEMES = {"redis", "rediss", "unix"}

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._-]+)+")
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def existing_path(path: Path) -> Path:
    path = Path(os.path.abspath(path.expanduser()))
    if not path.exists():
        raise ValueError(f"there is no file or folder {path}")

    return path


def name_of_model(name: str) -> str:
    if not _MODEL.fullmatch(name):
        raise ValueError(
            f"{name!r} can't be a model's name; use letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit, 128 at most"
        )

    return name


def folder_path(path: Path) -> Path:
    path = Path(os.path.abspath(path.expanduser()))
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is not a folder")

    return path


def existing_folder(path: Path) -> Path:
    path = folder_path(existing_path(path))
    if path == Path(path.anchor):
        raise ValueError(f"{path} is everything; name the folder that holds the models")

    return path


def token_file(path: Path) -> Path:
    path = Path(os.path.abspath(path.expanduser()))
    read_token(path)
    return path


def readable_file(path: Path) -> Path:
    path = Path(os.path.abspath(path.expanduser()))
    if not path.is_file():
        raise ValueError(f"there is no file {path}")

    return path


def keys_file(path: Path) -> Path:
    path = Path(os.path.abspath(path.expanduser()))
    read_keys(path)
    return path


def check_redis(url: str) -> None:
    """Raise `ValueError`, without the URL: a password may be in it."""
    parts = urlsplit(url)
    if not (parts.scheme in REDIS_SCHEMES and (parts.hostname or parts.path)):
        raise ValueError(
            "--redis or TANDEM_REDIS must be a URL such as redis://HOST:6379/0, "
            "rediss:// for TLS, or unix:///run/redis.sock"
        )

    if find_spec("redis") is None:
        raise ValueError(
            "--redis needs a package that isn't installed: "
            "pip install 'tandem-serving[redis]'"
        )


@dataclass(frozen=True, slots=True)
class CachePlace:
    """Where answers are kept, in Redis or in memory, and in how many bytes."""

    redis: bool
    nbytes: int


def cache_place(text: str) -> CachePlace:
    """Read `256MiB`, `redis` or `redis:1GiB`. Raise `ValueError` for anything else."""
    place, _, amount = text.rpartition(":")
    if text == REDIS_CACHE:
        place, amount = REDIS_CACHE, DEFAULT_CACHE

    try:
        nbytes = read_size(amount)
    except ValueError:
        nbytes = 0

    if place not in ("", REDIS_CACHE) or nbytes <= 0:
        raise ValueError("must be a size such as 256MiB, or redis, or redis:1GiB")

    return CachePlace(redis=place == REDIS_CACHE, nbytes=nbytes)


def cache_text(text: str) -> str:
    cache_place(text)
    return text


def unless_auto(value: object) -> object:
    return None if value == "auto" else value


def check_url(url: str) -> str:
    """Return the URL without a slash at its end."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no URL; write http://HOST:PORT or https://HOST")

    return url.rstrip("/")


def networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return addresses and networks as they are usually written."""
    return tuple(map(_network, texts))


def _network(text: str) -> str:
    try:
        if "/" in text:
            return str(ipaddress.ip_network(text))

        return str(ipaddress.ip_address(text))
    except ValueError as exc:
        raise ValueError(
            f"'{text}' is neither an address such as 10.0.0.7 nor a network such as "
            f"10.0.0.0/8 ({exc})"
        ) from exc


def url_prefix(text: str) -> str:
    """Return a prefix of URLs without a slash at its end."""
    prefix = text.rstrip("/")
    if not prefix or _PREFIX.fullmatch(prefix):
        return prefix

    raise ValueError(
        "must be a path such as /models: a slash, then letters, digits, '.', '_', '-'"
    )


def web_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Return origins as browsers send them."""
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"has {origin!r}, which is no origin; write https://HOST or"
                " http://HOST:PORT, in small letters and without a path, or *"
            )

    return origins


def comma_list(value: object) -> object:
    """Split a text at its commas, or each text of a repeated flag."""
    texts = [value] if isinstance(value, str) else value

    if not isinstance(texts, list | tuple) or not all(map(_is_text, texts)):
        return value

    return tuple(
        part.strip() for text in texts for part in text.split(",") if part.strip()
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)
