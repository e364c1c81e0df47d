"""API keys: their file, quotas, and what happens when the file changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from service.auth.keys import (
    ApiKeys,
    Quota,
    digest_of,
    key_line,
    new_key,
    parse_keys,
    read_keys,
)

if TYPE_CHECKING:
    from pathlib import Path

HASH = "sha256:" + "0" * 63


def test_a_line_is_read_as_it_was_written() -> None:
    key = new_key()
    line = key_line("ci", key, ["iris", "digits"], 2.5)

    [read] = parse_keys(f"# for the tests\n\n{line}\n").values()

    assert read.name == "ci"
    assert read.digest == digest_of(key.encode())
    assert read.models == frozenset({"iris", "digits"})
    assert read.rate == 2.5
    assert key not in line


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param("ci", "sha256:", id="no hash"),
        pytest.param("ci secret-in-clear", "sha256:", id="no hash but a key"),
        pytest.param(f"ci {HASH}", "64 lowercase hexadecimal", id="a short hash"),
        pytest.param(f"c/i {HASH}1", "a name has", id="a wrong name"),
        pytest.param(f"ci {HASH}1 rate=0", "above 0", id="no rate"),
        pytest.param(f"ci {HASH}1 rate=inf", "above 0", id="an endless rate"),
        pytest.param(f"ci {HASH}1 rate=nan", "above 0", id="not a number"),
        pytest.param(f"ci {HASH}1 rate=fast", "above 0", id="a word for a rate"),
        pytest.param(f"ci {HASH}1 models=", "commas between", id="no model"),
        pytest.param(f"ci {HASH}1 models=a,,b", "commas between", id="a gap"),
        pytest.param(f"ci {HASH}1 rate=1 rate=2", "repeated", id="twice"),
        pytest.param(f"ci {HASH}1 quota=5", "neither", id="an unknown option"),
        pytest.param(f"other {HASH}0", "that of first", id="a key of two names"),
        pytest.param(f"first {HASH}1", "line 1 has the name", id="a name of two keys"),
    ],
)
def test_a_wrong_line_is_named(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"^line 3: ") as caught:
        parse_keys(f"first {HASH}0\n\n{line}\n")

    assert told in str(caught.value)
    assert "secret-in-clear" not in str(caught.value)


def test_all_wrong_lines_are_named() -> None:
    with pytest.raises(ValueError, match=r"line 1: .*; line 3: "):
        parse_keys(f"a\nb {HASH}0\nc\n")


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(key_line("ci", new_key()))
    file.chmod(0o666)

    with pytest.raises(ValueError, match="chmod o-w"):
        read_keys(file)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"# nothing\n", "no key", id="no key"),
        pytest.param(b"\xff\xfe", "UTF-8", id="not text"),
        pytest.param(None, "can't be read", id="missing"),
    ],
)
def test_an_unusable_file_is_refused(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)

    with pytest.raises(ValueError, match=told):
        read_keys(file)


def test_a_quota_is_a_second_of_requests_at_once() -> None:
    quota = Quota(4.0, 0.0)

    assert [quota.take(0.0) for _ in range(5)] == [0, 0, 0, 0, 0.25]
    assert quota.take(0.25) == 0
    assert quota.take(0.25) == 0.25
    # What isn't used isn't saved up.
    assert [quota.take(100.0) for _ in range(5)] == [0, 0, 0, 0, 0.25]


def test_a_quota_below_one_a_second_lets_one_through() -> None:
    quota = Quota(0.1, 0.0)

    assert quota.take(0.0) == 0
    assert quota.take(5.0) == pytest.approx(5)
    assert quota.take(10.0) == 0


def test_processes_share_a_quota(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", key_line("ci", "k" * 20, rate=4))
    keys = ApiKeys(file, share=0.5, clock=lambda: 0.0)
    key = keys.find(b"k" * 20)
    assert key is not None

    assert [bool(keys.take(key)) for _ in range(3)] == [False, False, True]


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    return path


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """The link is moved on, as Kubernetes does with a secret."""
    old, new = new_key(), new_key()
    write(tmp_path / "old", key_line("ci", old))
    write(tmp_path / "new", key_line("ci", new))
    link = tmp_path / "keys"
    link.symlink_to("old")
    keys = ApiKeys(link)

    (tmp_path / "next").symlink_to("new")
    os.replace(tmp_path / "next", link)
    await keys.refresh()

    assert keys.find(old.encode()) is None
    assert keys.find(new.encode()) is not None


@pytest.mark.parametrize("broken", ["removed", "wrong", "empty"])
async def test_a_broken_file_keeps_the_old_keys(tmp_path: Path, broken: str) -> None:
    key = new_key()
    file = write(tmp_path / "keys", key_line("ci", key))
    keys = ApiKeys(file)

    if broken == "removed":
        file.unlink()
    else:
        file.write_text("ci nonsense" if broken == "wrong" else "")

    with capture_logs() as lines:
        await keys.refresh()
        await keys.refresh()

    assert keys.find(key.encode()) is not None
    # Once for each change, not each second.
    [line] = lines
    assert line["log_level"] == "error"
    assert str(file) in line["reason"]
