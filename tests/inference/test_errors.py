from __future__ import annotations

import pytest

from inference.errors import printable


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("node 'größe' — 層", "node 'größe' — 層"),
        ("\x1b[1mbold\x1b[0m", "bold"),
        ("a\nERROR b", "a\\x0aERROR b"),
        ("a\x1b]0;title\x07", "a\\x1b]0;title\\x07"),
        ("a\u2028b\u202ec", "a\\x2028b\\x202ec"),
    ],
)
def test_names_in_errors_are_printable(text: str, wanted: str) -> None:
    assert printable(text) == wanted
