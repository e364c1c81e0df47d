"""Heads of requests that were seen before: they aren't parsed and looked up again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

END = b"\r\n\r\n"
END_BYTES = len(END)
MAX_BYTES = 1024
"""Of a head that is kept."""

MAX_HEADS = 1024
"""Heads that are kept: at most some megabytes."""


class KnownHead:
    """The head of a short request, and what the application's part knows of it."""

    __slots__ = ("_path", "_raw_path", "head", "headers", "target")

    def __init__(self, target: bytes, path: str, scope: Any, head: Any) -> None:
        self.head = head
        self.target = target
        self.headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        self._path = path
        self._raw_path = path.encode("latin-1")

    @classmethod
    def look_up(
        cls, find: Callable[[Any], Any], root_path: str, target: bytes, scope: Any
    ) -> Self | None:
        """Ask `find` by the scope what is known of a head; `None` for ASGI's way."""
        if not target.startswith(b"/") or any(each in target for each in b"?%#"):
            return None

        known = cls(target, root_path + target.decode("latin-1"), scope, None)
        known.describe(scope)
        known.head = find(scope)
        return known if known.head is not None else None

    @property
    def is_small(self) -> bool:
        """Return whether each connection may keep it."""
        return sum(len(name) + len(value) for name, value in self.headers) <= MAX_BYTES

    def is_of(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
        """Return whether another request has the same head."""
        return self.target == target and self.headers == headers

    def describe(self, scope: Any) -> None:
        """Complete a request's scope, as uvicorn does."""
        scope["method"] = "POST"
        scope["path"], scope["raw_path"] = self._path, self._raw_path
        scope["query_string"] = b""


class _Kept(NamedTuple):
    """A head, and how many bytes of body come after it."""

    known: KnownHead
    nbytes: int


class KnownHeads:
    """Heads by their bytes, for all connections of a server.

    The parser takes the same bytes for the same request, whoever sends them; so where
    exactly one such request has arrived, nothing is left for it to find out.
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, _Kept] = {}

    def find(self, data: bytes) -> tuple[KnownHead, bytes] | None:
        """Return the head and the body, if `data` is one whole, known request."""
        # Without an end it is 3: shorter than any head.
        end = data.find(END, 0, MAX_BYTES) + END_BYTES
        kept = self._kept.get(data[:end])
        if kept is None or len(data) - end != kept.nbytes:
            return None

        return kept.known, data[end:]

    def keep(self, known: KnownHead, data: bytes, nbytes: int) -> None:
        """Keep a head: of the request which is all of `data`, with so long a body.

        To be called after the parser has said so of `data`.
        """
        end = data.find(END, 0, MAX_BYTES) + END_BYTES
        # Otherwise the blank line isn't the one that ends the head.
        if not nbytes or len(data) - end != nbytes:
            return

        if len(self._kept) >= MAX_HEADS:
            self._kept.clear()

        self._kept[data[:end]] = _Kept(known, nbytes)
