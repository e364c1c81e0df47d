from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inference import available_memory
from service.composition import engine_config
from service.settings.folders import default_cache_dir
from service.settings.messages import WORDS
from service.settings.settings import (
    Settings,
    SettingsError,
    find_misspelt,
    load_compiler_settings,
    load_settings,
)
from service.settings.values import CachePlace, cache_place
from tests.support.admin import write_token


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_defaults(tmp_path: Path) -> None:
    settings = load_settings(models=tmp_path)

    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8501, 1)
    assert settings.concurrency is None
    assert settings.max_body_bytes == 64 * 1024**2
    assert settings.cache_dir == default_cache_dir()


def test_flags_override_environment_file_and_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path / "c.toml", "port = 1\nworkers = 1\nhost = 'file'\n")
    monkeypatch.setenv("TANDEM_PORT", "2")
    monkeypatch.setenv("TANDEM_WORKERS", "2")

    settings = load_settings(models=tmp_path, config=config, port=3, concurrency=None)

    assert (settings.port, settings.workers, settings.host) == (3, 2, "file")
    assert settings.log_format == "auto"


def test_the_environment_may_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path / "c.toml", f"models = '{tmp_path}'\nscreen = false\n")
    monkeypatch.setenv("TANDEM_CONFIG", str(config))

    assert load_settings().screen is False


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(
            {"models": None},
            "models (PATH or TANDEM_MODELS): not given",
            id="no models",
        ),
        pytest.param({"models": "gone"}, "there is no file or folder", id="no folder"),
        pytest.param(
            {"port": 70000},
            "port (--port or TANDEM_PORT): must be at most 65535, got 70000",
            id="port",
        ),
        pytest.param({"port": "http"}, "must be a whole number", id="port of letters"),
        pytest.param({"workers": 0}, "must be at least 1", id="workers"),
        pytest.param({"host": ""}, "must not be empty", id="host"),
        pytest.param({"concurrency": 0}, "must be at least 1", id="limit"),
        pytest.param({"max_body_bytes": 0}, "--max-body-bytes", id="body"),
        pytest.param({"compile_timeout": 0}, "must be more than 0", id="timeout"),
        pytest.param({"log_level": "loud"}, "'debug', 'info'", id="level"),
        pytest.param({"cache_dir": __file__}, "is not a folder", id="cache is a file"),
        pytest.param({"config": "gone.toml"}, "there is no such file", id="no file"),
        pytest.param({"prot": 1}, "prot: there is no such setting", id="unknown"),
        pytest.param(
            {"memory_budget": "lots"}, "write 64MiB, 500MB, or a number", id="no size"
        ),
        pytest.param({"memory_budget": "4XiB"}, "is not a size; write", id="no unit"),
        pytest.param({"memory_budget": "4G"}, "two units; write GiB", id="which unit"),
        pytest.param(
            {"memory_budget": "10"}, "is 10 bytes, too few for any model", id="budget"
        ),
        pytest.param({"memory_budget": "0%"}, "at most 100%", id="no memory"),
        pytest.param({"memory_budget": "101%"}, "at most 100%", id="more than all"),
        pytest.param({"max_body_bytes": "1.5"}, "no whole number", id="half a byte"),
        pytest.param({"timeout": "soon"}, "write 30s, 500ms, 5min", id="no duration"),
        pytest.param({"timeout": "3 weeks"}, "not a duration; write", id="weeks"),
        pytest.param({"timeout": "inf"}, "can't be read; write", id="endless"),
        pytest.param({"timeout": "-1s"}, "must be more than 0, got '-1s'", id="past"),
        pytest.param({"grace": "-1"}, "must be at least 0", id="grace"),
        pytest.param({"max_delay_ms": "2s"}, "must be at most 1000", id="delay"),
        pytest.param({"screen": "perhaps"}, "must be true or false", id="screen"),
        pytest.param({"ready_when": "some"}, "'any', 'all' or 'always'", id="ready"),
        pytest.param({"url": "foo"}, "is no URL; write http://", id="url"),
        pytest.param({"url": "ftp://a"}, "is no URL; write http://", id="scheme"),
        pytest.param({"scan_seconds": -1}, "--scan-seconds", id="scan"),
        pytest.param(
            {"admin_token_file": "gone"}, "gone can't be read: No such", id="no token"
        ),
        pytest.param(
            {"admin_token_file": __file__},
            "admin_token_file (--admin-token-file or TANDEM_ADMIN_TOKEN_FILE): the"
            " token in",
            id="no token in it",
        ),
    ],
)
def test_refusals(tmp_path: Path, flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        load_settings(**{"models": tmp_path, **flags})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("port = ", "c.toml is not valid TOML", id="not TOML"),
        pytest.param(
            "prot = 1",
            "c.toml: there is no such setting; did you mean port?",
            id="name",
        ),
        pytest.param("port = 'x'", "c.toml): must be a whole number", id="value"),
        pytest.param("max-jobs = []", "c.toml): must be a whole number", id="type"),
    ],
)
def test_refused_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        load_settings(models=tmp_path, config=write(tmp_path / "c.toml", text))


def test_a_file_is_only_named_for_what_it_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path / "c.toml", "port = 1\nworkers = 2")
    monkeypatch.setenv("TANDEM_WORKERS", "0")

    with pytest.raises(SettingsError) as caught:
        load_settings(models=tmp_path, config=config, port=-1)

    assert "c.toml" not in str(caught.value)
    assert "TANDEM_WORKERS" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"\xff\xfe", "c.toml is not UTF-8 text", id="binary"),
        pytest.param(None, "there is no such file", id="a folder"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    config = tmp_path / "c.toml"
    config.mkdir() if content is None else config.write_bytes(content)

    with pytest.raises(SettingsError, match=re.escape(message)):
        load_settings(models=tmp_path, config=config)


def test_a_wrong_line_of_a_file_is_not_its_path(tmp_path: Path) -> None:
    keys = write(tmp_path / "keys", "ci no-hash\n")
    with pytest.raises(SettingsError, match="line 1: the name is followed") as caught:
        load_settings(models=tmp_path, api_keys_file=str(keys))

    assert "got" not in str(caught.value)


def test_no_error_has_the_words_of_the_library(tmp_path: Path) -> None:
    """Whatever is given: a text, a number, a truth value, a list or a table."""
    ours = {*WORDS, "value_error", "extra_forbidden"}
    for name in Settings.model_fields.keys() - {"config"}:
        for value in ("?", -1, -0.5, True, [None], {"a": 1}, b"x", 10**400):
            given: dict[str, Any] = {"models": tmp_path, name: value}
            try:
                Settings(**given)
            except ValidationError as exc:
                assert {error["type"] for error in exc.errors()} <= ours, exc


def test_every_error_has_a_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(models=tmp_path, port=-1, workers=0)

    assert len(str(caught.value).splitlines()) == 2


def test_admin_calls_need_a_single_process(tmp_path: Path) -> None:
    token = write_token(tmp_path / "token")
    load_settings(models=tmp_path, admin_token_file=token, workers=1)

    with pytest.raises(SettingsError) as caught:
        load_settings(models=tmp_path, admin_token_file=token, workers=2)

    assert str(caught.value).startswith("--admin-token-file and --workers 2 exclude")
    assert "use --workers 1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 << 30),
        ("4Gi", 4 << 30),
        ("500MB", 500_000_000),
        ("4 gib", 4 << 30),
        ("1.5MiB", 3 << 19),
        ("10000000", 10_000_000),
        ("auto", None),
        (4 << 30, 4 << 30),
    ],
)
def test_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: Any, size: int | None
) -> None:
    """Another process gets the number of bytes, whatever the unit was."""
    settings = load_settings(models=tmp_path, memory_budget=text)
    assert settings.memory_budget == size
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)

    assert load_settings().memory_budget == size


def test_a_percentage_is_of_all_memory(tmp_path: Path) -> None:
    settings = load_settings(models=tmp_path, memory_budget="60%", compile_memory="5 %")

    assert settings.memory_budget == int(available_memory() * 0.6)
    assert settings.compile_memory == int(available_memory() * 0.05)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("500ms", 0.5), ("5min", 300), ("1.5 h", 5400), (2, 2)],
)
def test_durations(tmp_path: Path, text: Any, seconds: float) -> None:
    settings = load_settings(models=tmp_path, timeout=text, keep_alive=text)

    assert settings.timeout == settings.keep_alive == seconds


@pytest.mark.parametrize(("text", "milliseconds"), [("5", 5), ("5ms", 5), ("1s", 1000)])
def test_milliseconds(tmp_path: Path, text: str, milliseconds: float) -> None:
    assert (
        load_settings(models=tmp_path, max_delay_ms=text).max_delay_ms == milliseconds
    )


def test_sizes_of_bodies_have_units(tmp_path: Path) -> None:
    settings = load_settings(
        models=tmp_path, max_body_bytes="2MiB", max_bodies_bytes="1e9"
    )

    assert (settings.max_body_bytes, settings.max_bodies_bytes) == (2 << 20, 10**9)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        pytest.param("allow_ops", "allow-ops = 'PyFunc, ReadFile,'", id="text"),
        pytest.param("allow_ops", "allow_ops = ['PyFunc', 'ReadFile']", id="a list"),
        pytest.param(
            "allow_classes", "allow_classes = ['PyFunc', 'ReadFile']", id="classes"
        ),
    ],
)
def test_lists_of_the_file_reach_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, text: str
) -> None:
    config = write(tmp_path / "c.toml", text)
    settings = load_settings(models=tmp_path, config=config)
    assert getattr(settings, key) == ("PyFunc", "ReadFile")
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)

    assert getattr(load_settings(), key) == ("PyFunc", "ReadFile")


def test_lists_by_flag_and_by_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_ALLOW_OPS", "A,B")

    settings = load_settings(models=tmp_path, allow_classes="my.layers>Magic")

    assert settings.allow_ops == ("A", "B")
    assert settings.allow_classes == ("my.layers>Magic",)


@pytest.mark.parametrize("given", ["a,b", ("a", "b"), ["a,b"]], ids=str)
def test_folders_that_links_may_lead_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: object
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    monkeypatch.chdir(tmp_path)
    settings = load_settings(models=tmp_path, follow_links_to=given)
    both = (tmp_path / "a", tmp_path / "b")
    assert settings.follow_links_to == both

    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)

    monkeypatch.chdir("/")
    assert load_settings().follow_links_to == both
    assert load_compiler_settings().follow_links_to == both


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("none", "there is no file or folder"),
        ("file", "is not a folder"),
        ("/", "is everything; name the folder that holds the models"),
    ],
)
def test_folders_that_links_may_not_lead_into(
    tmp_path: Path, folder: str, words: str
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError) as caught:
        load_settings(models=tmp_path, follow_links_to=str(tmp_path / folder))

    assert str(caught.value).startswith(
        "follow_links_to (--follow-links-to or TANDEM_FOLLOW_LINKS_TO): "
    )
    assert words in str(caught.value)


def test_kubernetes_links_are_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_PORT", "tcp://10.96.0.7:8501")
    monkeypatch.setenv("TANDEM_SERVICE_HOST", "10.96.0.7")

    assert load_settings(models=tmp_path).port == 8501


def test_another_process_gets_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(tmp_path / "c.toml", "intra_op_threads = 3\n")
    settings = load_settings(
        models=tmp_path, config=config, port=1, screen=False, compile_timeout=1.5
    )
    config.write_text("concurrency = 9\nintra_op_threads = 9\n")
    monkeypatch.setenv("TANDEM_CONFIG", str(config))
    monkeypatch.setenv("TANDEM_CONCURRENCY", "7")
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)

    assert load_settings() == settings.model_copy(update={"config": None})


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings(models=tmp_path).port = 1


def test_every_setting_has_a_description() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize(
    ("xdg", "expected"),
    [
        pytest.param("/var/cache", "/var/cache/tandem", id="set"),
        pytest.param("", "/home/me/.cache/tandem", id="empty"),
        pytest.param("relative", "/home/me/.cache/tandem", id="relative"),
    ],
)
def test_default_cache_dir(
    monkeypatch: pytest.MonkeyPatch, xdg: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)

    assert default_cache_dir() == Path(expected)


def test_keys_of_the_file_may_be_written_as_flags(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", "log-format = 'json'\nlog_level = 'debug'\n")

    settings = load_settings(models=tmp_path, config=config)

    assert (settings.log_format, settings.log_level) == ("json", "debug")


def test_misspelt_variables_are_found() -> None:
    names = (
        "TANDEM_MEMORY_BUGDET",
        "TANDEM_PRT",
        "TANDEM_PORT",
        "TANDEM_SERVER",
        "TANDEM_SERVICE_HOST",
        "TANDEM_SERVICE_PORT",
        "TANDEM_PORT_8501_TCP_PORT",
        "MEMORY_BUGDET",
    )
    assert find_misspelt(names) == {
        "TANDEM_MEMORY_BUGDET": "TANDEM_MEMORY_BUDGET",
        "TANDEM_PRT": "TANDEM_PORT",
    }


@pytest.mark.parametrize(
    "url", ["redis.example:6379", "http://me:secret@h", "redis://"]
)
def test_redis_is_named_by_its_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match=r"URL such as redis://HOST:6379") as caught:
        load_settings(models=tmp_path, redis=url)

    assert "secret" not in str(caught.value)


def test_redis_needs_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "redis://me:secret@127.0.0.1:6379/0"
    assert load_settings(models=tmp_path, redis=url).redis == url
    # As where it isn't installed.
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(SettingsError, match=r"pip install .*\[redis\]") as caught:
        load_settings(models=tmp_path, redis=url)

    assert "secret" not in str(caught.value)


MIB = 1 << 20
REDIS = "redis://127.0.0.1:6379/0"


@pytest.mark.parametrize(
    ("text", "in_redis", "nbytes"),
    [
        pytest.param("256MiB", False, 256 * MIB, id="a-size"),
        pytest.param("1Gi", False, 1024 * MIB, id="a-size-of-kubernetes"),
        pytest.param("1000000", False, 1_000_000, id="bytes"),
        pytest.param("redis", True, 256 * MIB, id="redis"),
        pytest.param("redis:1GiB", True, 1024 * MIB, id="redis-and-a-size"),
    ],
)
def test_the_response_cache_has_a_place_and_a_size(
    tmp_path: Path, text: str, in_redis: bool, nbytes: int
) -> None:
    settings = load_settings(models=tmp_path, response_cache=text, redis=REDIS)

    assert cache_place(settings.response_cache or "") == CachePlace(in_redis, nbytes)
    assert settings.to_environment()["TANDEM_RESPONSE_CACHE"] == text


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "much", "redis:", "redis:0", "disk:1GiB", "256MiB:redis"]
)
def test_other_places_of_a_response_cache_are_refused(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(SettingsError, match="such as 256MiB, or redis"):
        load_settings(models=tmp_path, response_cache=text, redis=REDIS)


def test_a_response_cache_in_redis_needs_a_redis(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs a Redis: name it with --redis"):
        load_settings(models=tmp_path, response_cache="redis:1GiB")


def test_origins_and_prefixes_are_read_as_browsers_and_proxies_write_them(
    tmp_path: Path,
) -> None:
    settings = load_settings(
        models=tmp_path,
        root_path="/ml/models/",
        cors_origins="https://a.org, http://[::1]:3000",
        trusted_proxies="10.0.0.0/8, 2001:DB8::7",
    )

    assert settings.root_path == "/ml/models"
    assert settings.cors_origins == ("https://a.org", "http://[::1]:3000")
    assert settings.trusted_proxies == ("10.0.0.0/8", "2001:db8::7")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"root_path": "models"}, "must be a path such as /models"),
        ({"root_path": "/a//b"}, "must be a path such as /models"),
        ({"cors_origins": "https://a.org/"}, "'https://a.org/', which is no origin"),
        ({"cors_origins": "a.org"}, "which is no origin; write https://HOST"),
        ({"cors_origins": "https://A.org"}, "in small letters"),
        ({"trusted_proxies": "proxy.local"}, "'proxy.local' is neither an address"),
        ({"trusted_proxies": "10.0.0.1/8"}, "has host bits set"),
    ],
)
def test_wrong_origins_and_prefixes_are_refused(
    tmp_path: Path, flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        load_settings(models=tmp_path, **flags)


def test_a_models_name_is_one_that_urls_take(tmp_path: Path) -> None:
    settings = load_settings(models=tmp_path, model_name="flowers-2")

    assert engine_config(settings).model_name == "flowers-2"
    with pytest.raises(SettingsError, match="'a/b' can't be a model's name; use lett"):
        load_settings(models=tmp_path, model_name="a/b")
