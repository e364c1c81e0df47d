"""The commands that write lines for the file of API keys."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from service.auth.keys import digest_of, parse_keys
from service.cli.admin import find_api_key
from service.cli.main import main


def test_a_new_key_is_shown_beside_its_line() -> None:
    done = CliRunner().invoke(
        main, ["keys", "new", "ci", "--model", "a", "--model", "b", "--rate", "5"]
    )

    [key] = parse_keys(done.stdout).values()
    assert (key.name, key.models, key.rate) == ("ci", frozenset("ab"), 5)
    assert digest_of(done.stderr.split()[-1].encode()) == key.digest


def test_a_key_of_ones_own_is_hashed() -> None:
    done = CliRunner().invoke(main, ["keys", "hash", "ci"], input=f"{'k' * 40}\n")

    [key] = parse_keys(done.stdout).values()
    assert key.digest == digest_of(b"k" * 40)


@pytest.mark.parametrize("key", ["", "short", "two words of text", "ä" * 20])
def test_an_unusable_key_is_refused(key: str) -> None:
    done = CliRunner().invoke(main, ["keys", "hash", "ci"], input=key)

    assert done.exit_code == 1
    assert "tandem keys new" in done.stderr


def test_a_wrong_name_is_refused() -> None:
    done = CliRunner().invoke(main, ["keys", "new", "a b"])

    assert done.exit_code == 2
    assert "a name has" in done.stderr


def test_commands_send_the_key_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_API_KEY", " key-of-some-length\n")
    assert find_api_key() == "key-of-some-length"

    monkeypatch.setenv("TANDEM_API_KEY", "two words of text")
    with pytest.raises(ValueError, match="TANDEM_API_KEY"):
        find_api_key()
