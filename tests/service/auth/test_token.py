from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from service.auth.token import MAX_CHARS, AdminToken, check_token, read_token
from tests.support.admin import TOKEN, write_token

if TYPE_CHECKING:
    from pathlib import Path


def test_white_space_around_the_token_is_not_part_of_it(tmp_path: Path) -> None:
    file = write_token(tmp_path / "token", f"  {TOKEN}\r\n")

    assert read_token(file) == TOKEN.encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("", "is empty; write one with", id="empty"),
        pytest.param(" \n\t", "is empty; write one with", id="blank"),
        pytest.param("x" * 15, "16 to 4096 characters", id="too short"),
        pytest.param("x" * (MAX_CHARS + 1), "16 to 4096 characters", id="too long"),
        pytest.param("a secret of words", "one word of ASCII", id="words"),
        pytest.param("sécret-of-some-length", "one word of ASCII", id="not ASCII"),
    ],
)
def test_unusable_tokens_are_refused(tmp_path: Path, content: str, words: str) -> None:
    file = write_token(tmp_path / "token", content)

    with pytest.raises(ValueError, match=words) as caught:
        read_token(file)

    assert not content.strip() or content not in str(caught.value)


@pytest.mark.parametrize("name", ["gone", "."])
def test_unreadable_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="can't be read: "):
        read_token(tmp_path / name)


def test_a_token_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    file = write_token(tmp_path / "token")
    file.chmod(0o602)

    with pytest.raises(ValueError, match="chmod o-w"):
        read_token(file)


def test_check_token_names_the_place() -> None:
    with pytest.raises(ValueError, match="the token in THERE must have"):
        check_token(b"short", "THERE")


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)]
)
def test_a_token_that_everybody_may_read_is_warned_of(
    tmp_path: Path, mode: int, warned: bool
) -> None:
    file = write_token(tmp_path / "token")
    file.chmod(mode)

    with capture_logs() as lines:
        AdminToken(file)

    assert [line["fix"] for line in lines] == [f"chmod o-r {file}"] * warned


async def test_the_file_is_reread(tmp_path: Path) -> None:
    token = AdminToken(write_token(tmp_path / "token"))
    write_token(tmp_path / "token", "another-token-of-length")

    assert not await token.matches(TOKEN.encode())
    assert await token.matches(b"another-token-of-length")


@pytest.mark.parametrize("content", ["", "short", None])
async def test_the_last_good_token_is_kept(tmp_path: Path, content: str | None) -> None:
    file = write_token(tmp_path / "token")
    token = AdminToken(file)
    if content is None:
        file.unlink()
    else:
        file.write_text(content)

    with capture_logs() as lines:
        assert await token.matches(TOKEN.encode())
        assert not await token.matches((content or "").encode())

    assert lines[0]["event"] == "keeping the previous admin token"


async def test_tokens_are_compared_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        seen.append((one, other))
        return False

    token = AdminToken(write_token(tmp_path / "token"))
    monkeypatch.setattr(hmac, "compare_digest", compare)

    assert not await token.matches(TOKEN.encode())
    assert seen == [(TOKEN.encode(), TOKEN.encode())]
