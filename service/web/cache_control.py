"""The headers of the response cache: `Cache-Control`, `Cache-Status` and `Age`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from werkzeug.http import parse_dict_header

from service.caching.cache import COLLAPSED, HIT, MISS, CacheUse
from service.caching.directives import NO_DIRECTIVES, Directives

if TYPE_CHECKING:
    from flask import Request, Response

    from service.caching.cache import CachedAnswer, ResponseCache

NAME = "Tandem"


def use_of(cache: ResponseCache | None, request: Request) -> CacheUse | None:
    """Return the use that a request makes of the cache, if there is one."""
    if cache is None:
        return None

    return CacheUse(cache=cache, directives=directives_of(request))


def directives_of(request: Request) -> Directives:
    """Return the directives of a request's `Cache-Control`; unknown ones are ignored.

    A number that isn't one allows no stored answer: RFC 9111 takes it for stale.
    """
    header = request.environ.get("HTTP_CACHE_CONTROL")
    if header is None:
        return NO_DIRECTIVES

    found = {name.lower(): value for name, value in parse_dict_header(header).items()}
    return Directives(
        no_store="no-store" in found,
        no_cache="no-cache" in found,
        only_if_cached="only-if-cached" in found,
        max_age=_seconds(found, "max-age", otherwise=-1),
        min_fresh=_seconds(found, "min-fresh", otherwise=math.inf),
    )


def add_cache_headers(response: Response, answer: CachedAnswer) -> None:
    """Add `Cache-Status` (RFC 9211), and `Age` to an answer from the store."""
    response.headers["Cache-Status"] = cache_status(answer)

    if answer.outcome == HIT:
        response.headers["Age"] = str(int(answer.age))


def cache_status(answer: CachedAnswer) -> str:
    """Return the value of `Cache-Status` for an answer."""
    if answer.outcome == HIT:
        return f"{NAME}; hit; ttl={int(answer.ttl)}"

    joined = answer.outcome == COLLAPSED
    reason = MISS if joined else answer.outcome
    stored = "; stored" if answer.stored else ""
    return f"{NAME}; fwd={reason}{stored}{'; collapsed' if joined else ''}"


def _seconds(
    found: dict[str, str | None], name: str, *, otherwise: float
) -> float | None:
    if name not in found:
        return None

    text = found[name] or ""
    return float(text) if text.isascii() and text.isdecimal() else otherwise
