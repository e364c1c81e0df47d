"""Media types that a client would rather have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Request


def prefers_html(this: Request) -> bool:
    """Return whether the client would rather have HTML than JSON, as browsers do."""
    kinds = this.accept_mimetypes
    return kinds.best_match(["application/json", "text/html"]) == "text/html"
