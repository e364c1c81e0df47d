"""JSON responses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from service.web.context import current_application

if TYPE_CHECKING:
    from flask import Response

READABLE = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def json_text(text: bytes | list[bytes], status: int = 200) -> Response:
    """A response of JSON that is written already, perhaps in pieces."""
    return current_application().response_class(
        text, status=status, content_type="application/json"
    )


def json_answer(value: Any, status: int = 200) -> Response:
    """A response for people and programs: indented, with a newline at its end."""
    return json_text(readable(value), status)


def readable(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=READABLE)
    except orjson.JSONEncodeError:
        # The name of a file that isn't UTF-8 has lone surrogates in it.
        return json.dumps(value, indent=2).encode() + b"\n"
