"""Keys of Triton's `config.pbtxt`: the one that is read, and reports of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.repository.scan import scan_repository
from tests.inference.repository.test_scan import found, lay, versions

if TYPE_CHECKING:
    from pathlib import Path

    from inference.repository.scan import Scan

PLAIN = """
name: "m"
platform: "tensorflow_graphdef"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } ]
"""


def scan(root: Path, config: str, *paths: str) -> Scan:
    lay(root, "other.h5", *(f"m/{path}" for path in paths))
    (root / "m/config.pbtxt").write_text(config)
    return scan_repository(root)


def test_plain_config_is_ignored(tmp_path: Path) -> None:
    done = scan(
        tmp_path, PLAIN, "1/model.graphdef", "2/model.savedmodel/saved_model.pb"
    )

    assert found(done, tmp_path) == {
        "m/1": "m/1/model.graphdef",
        "m/2": "m/2/model.savedmodel",
        "other/1": "other.h5",
    }
    assert done.problems == []


@pytest.mark.parametrize(
    "line",
    [
        'default_model_filename: "net.bin"',
        "default_model_filename:'net.bin'",
        '\tdefault_model_filename : "net.bin"  # ours',
        '# default_model_filename: "other.pb"\ndefault_model_filename: "net.bin"',
    ],
)
def test_named_file_is_the_model(tmp_path: Path, line: str) -> None:
    config = f"{PLAIN}\n{line}\n"
    done = scan(tmp_path, config, "1/net.bin", "1/other.pb", "1/more.pb")

    assert found(done, tmp_path)["m/1"] == "m/1/net.bin"
    assert done.problems == []


def test_named_savedmodel_is_the_model(tmp_path: Path) -> None:
    config = 'default_model_filename: "export"'
    done = scan(tmp_path, config, "1/export/saved_model.pb", "1/model.graphdef")

    assert found(done, tmp_path)["m/1"] == "m/1/export"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net.pb", "config.pbtxt names net.pb, which isn't there"),
        ("empty", "config.pbtxt names empty, which isn't there or holds no SavedModel"),
        ("../../other.h5", "isn't the name of a file in the version's folder"),
        ("/etc/passwd", "isn't the name of a file in the version's folder"),
        ("..", "isn't the name of a file in the version's folder"),
    ],
)
def test_missing_or_outside_name_is_refused(
    tmp_path: Path, name: str, words: str
) -> None:
    config = f'default_model_filename: "{name}"'
    done = scan(tmp_path, config, "1/model.graphdef", "1/empty/")

    assert [str(files.id) for files in versions(done)] == ["other/1"]
    (problem,) = done.problems
    assert problem.startswith("m/1: ")
    assert words in problem


def test_named_link_is_not_followed_out(tmp_path: Path) -> None:
    lay(tmp_path / "outside", "net.pb")
    root = lay(tmp_path / "root", "m/1/")
    (root / "m/1/net.pb").symlink_to(tmp_path / "outside/net.pb")
    done = scan(root, 'default_model_filename: "net.pb"')

    assert "net.pb is a link out of the repository" in done.problems[0]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("version_policy: { all: {} }", ["version_policy", "`versions` in model.toml"]),
        ("version_policy {\n specific {\n versions: [1]\n}\n}", ["version_policy"]),
        ("model_warmup [\n{}\n]", ["model_warmup", "warmup.jsonl"]),
        (
            "sequence_batching { }\noutput [ {\n  reshape: { shape: [ ] }\n} ]",
            ["sequence_batching", "reshape"],
        ),
    ],
)
def test_ignored_keys_are_reported(
    tmp_path: Path, config: str, words: list[str]
) -> None:
    done = scan(tmp_path, PLAIN + config, "1/model.graphdef")

    assert "m/1" in found(done, tmp_path)
    (problem,) = done.problems
    assert problem.startswith("m/config.pbtxt: only its default_model_filename is read")
    assert [word for word in words if word not in problem] == []


def test_oversized_config_is_refused(tmp_path: Path) -> None:
    done = scan(tmp_path, "#" * 2**18 + "#", "1/model.graphdef")

    assert [str(files.id) for files in versions(done)] == ["other/1"]
    assert done.problems == ["m: config.pbtxt has more than 262144 bytes."]
