from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.errors import InvalidSidecar
from inference.repository.sidecar import (
    BatchingTable,
    ModelBatchingTable,
    Sidecar,
    SignatureConfig,
    read_sidecar,
    sidecar_errors,
)

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = """
default_signature = "classify"
concurrency = 4
intra_op_threads = 2
max_queue = 0
timeout = 2.5

[batching]
max_rows = 8
max_delay_ms = 1.5

[batching.signatures.embed]
allowed_rows = [1, 4]

[constants]
keep_prob = 1.0
is_training = false
mode = "serve"
steps = 3

[signatures.classify]
inputs = { image = "pixels:0" }
outputs = ["scores:0", "heads/best:0", "heads/best:1"]

[signatures.embed]
outputs = { vector = "hidden:0" }
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "flowers.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cache_seconds = 0", "'cache_seconds'"),
        ("cache_seconds = -1", "'cache_seconds'"),
        ("cache_seconds = nan", "'cache_seconds'"),
        ("cache_seconds = 1e9", "'cache_seconds'"),
        ('async = "later"', "'async'"),
        ("asynchronous = true", "'asynchronous': there is no such key"),
        ("asinc = true", "pinned, classes, cache_seconds, async."),
    ],
)
def test_wrong_ways_to_answer_are_refused(
    tmp_path: Path, text: str, wanted: str
) -> None:
    with pytest.raises(InvalidSidecar) as caught:
        read_sidecar(written(tmp_path, text))

    assert wanted in str(caught.value)


def test_ways_to_answer_are_no_part_of_the_artifact(tmp_path: Path) -> None:
    sidecar = read_sidecar(written(tmp_path, "cache_seconds = 2.5\nasync = true"))

    assert (sidecar.cache_seconds, sidecar.asynchronous) == (2.5, True)
    assert sidecar.shaping() == Sidecar().shaping()


def test_no_sidecar_is_empty() -> None:
    assert read_sidecar(None) == Sidecar()


def test_empty_file_is_an_empty_sidecar(tmp_path: Path) -> None:
    assert read_sidecar(written(tmp_path, "# nothing\n")) == Sidecar()


def test_every_key_is_read(tmp_path: Path) -> None:
    sidecar = read_sidecar(written(tmp_path, WHOLE))

    assert sidecar == Sidecar(
        default_signature="classify",
        concurrency=4,
        intra_op_threads=2,
        max_queue=0,
        timeout=2.5,
        batching=ModelBatchingTable(
            max_rows=8,
            max_delay_ms=1.5,
            signatures={"embed": BatchingTable(allowed_rows=(1, 4))},
        ),
        constants={
            "keep_prob": 1.0,
            "is_training": False,
            "mode": "serve",
            "steps": 3,
        },
        signatures={
            "classify": SignatureConfig(
                inputs={"image": "pixels:0"},
                outputs={
                    "scores": "scores:0",
                    "heads/best": "heads/best:0",
                    "heads/best:1": "heads/best:1",
                },
            ),
            "embed": SignatureConfig(outputs={"vector": "hidden:0"}),
        },
    )
    assert isinstance(sidecar.constants["is_training"], bool)
    assert isinstance(sidecar.constants["steps"], int)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a = \nb = 1", ["valid TOML", "line 1"], id="syntax"),
        pytest.param(f"max_queue = {'1' * 5000}", ["valid TOML"], id="digits"),
        pytest.param(f"max_queue = 0x{'F' * 5000}", ["'max_queue'"], id="hex digits"),
        pytest.param(f"max_queue = 1{'0' * 30}", ["'max_queue'"], id="a huge queue"),
        pytest.param(f"a = {'[' * 100_000}", ["nested too deeply"], id="nesting"),
        pytest.param(f"a{'.a' * 100_000} = 1", ["too many dots"], id="a long key"),
        pytest.param(
            f"concurrency{'.a' * 900} = 1", ["'concurrency'"], id="a deep key"
        ),
        pytest.param("#" * 2**20 + "#", ["1,048,576 bytes"], id="a huge file"),
        pytest.param(
            "\n".join(f"a{number} = 1" for number in range(1000)),
            ["'a9'", "no such key. The keys are"],
            id="many keys",
        ),
        pytest.param(
            "[batching]\nallowed_rows = [4294967296]",
            ["'batching.allowed_rows'", "2147483647"],
            id="a batch without end",
        ),
        pytest.param(b"a = '\xff'", ["valid TOML"], id="encoding"),
        pytest.param(
            "versions = {latests = 2}",
            [
                "'versions.latests': there is no such key.",
                "The keys of 'versions' are: latest, all, only.",
            ],
            id="a key of versions",
        ),
        pytest.param(
            "versions = 2",
            ["'versions': it must be a table. The keys of 'versions' are: latest, all"],
            id="no table",
        ),
        pytest.param(
            "batching.signatures.s.max_row = 2",
            ["The keys of 'batching.signatures.s' are: max_rows, max_delay_ms"],
            id="a key of a signature's batching",
        ),
        pytest.param("port = 1", ["'port'", "concurrency", "constants"], id="key"),
        pytest.param("concurrency = 0", ["'concurrency'", "1"], id="too few"),
        pytest.param("concurrency = 1025", ["'concurrency'", "1024"], id="too many"),
        pytest.param('concurrency = "two"', ["'concurrency'"], id="no number"),
        pytest.param("default_signature = 3", ["'default_signature'"], id="no text"),
        pytest.param(
            "[signatures.a]\ninput = []", ["'signatures.a.input'"], id="inner key"
        ),
        pytest.param(
            "[signatures.a.inputs]\nx = 3",
            ["'signatures.a.inputs.x'", "string"],
            id="no tensor",
        ),
        pytest.param("[constants]\nx = [1]", ["'constants.x"], id="a list"),
        pytest.param("max_queue = -1", ["'max_queue'", "0"], id="a queue below none"),
        pytest.param("timeout = 0", ["'timeout'", "greater than 0"], id="no time"),
        pytest.param("timeout = nan", ["'timeout'"], id="time that is no number"),
        pytest.param("timeout = inf", ["'timeout'", "86400"], id="time without end"),
        pytest.param("intra_op_threads = 0", ["'intra_op_threads'"], id="no threads"),
        pytest.param(
            "[batching]\nmax_rows = 0", ["'batching.max_rows'", "1"], id="no rows"
        ),
        pytest.param(
            "[batching]\nmax_delay_ms = 1001",
            ["'batching.max_delay_ms'", "1000"],
            id="a long delay",
        ),
        pytest.param(
            "[batching]\nallowed_rows = [2, 1]",
            ["'batching.allowed_rows'", "ascending order", "[2, 1]"],
            id="rows in disorder",
        ),
        pytest.param(
            "[batching]\nallowed_rows = []",
            ["'batching.allowed_rows'", "positive"],
            id="no allowed rows",
        ),
        pytest.param(
            "[batching]\nallowed_rows = [0, 1]",
            ["'batching.allowed_rows'", "positive"],
            id="rows of none",
        ),
        pytest.param(
            "[batching.signatures.a]\nmax_row = 3",
            ["'batching.signatures.a.max_row'", "no such key"],
            id="an inner key of batching",
        ),
        pytest.param(
            'layers = "hidden"',
            ["'layers'", "a list of names", "'hidden'"],
            id="layers",
        ),
        pytest.param(
            "port = 1\nhost = 2", ["'port'", "'host'"], id="all of what is wrong"
        ),
    ],
)
def test_errors_name_the_key(
    tmp_path: Path, text: str | bytes, words: list[str]
) -> None:
    with pytest.raises(InvalidSidecar) as caught:
        read_sidecar(written(tmp_path, text))

    message = str(caught.value)
    assert message.startswith("flowers.toml: ")
    assert [word for word in words if word not in message] == []


def test_missing_sidecar_is_invalid(tmp_path: Path) -> None:
    with pytest.raises(InvalidSidecar, match=r"^flowers\.toml: it can't be read: No"):
        read_sidecar(tmp_path / "flowers.toml")


def test_errors_without_a_file_are_prefixed() -> None:
    with (
        pytest.raises(InvalidSidecar, match="^sidecar: no such tensor$"),
        sidecar_errors(None),
    ):
        raise InvalidSidecar("no such tensor")


@pytest.mark.parametrize(
    "other",
    [
        Sidecar(concurrency=3),
        Sidecar(intra_op_threads=3),
        Sidecar(max_queue=3),
        Sidecar(timeout=3),
        Sidecar(batching=ModelBatchingTable(max_rows=3)),
    ],
)
def test_limits_leave_the_artifact_unchanged(other: Sidecar) -> None:
    assert other.shaping() == Sidecar().shaping()


@pytest.mark.parametrize(
    "other",
    [
        Sidecar(default_signature="a"),
        Sidecar(signatures={"a": SignatureConfig()}),
        Sidecar(constants={"a": 1}),
        Sidecar(layers="all"),
        Sidecar(layers=("a",)),
        Sidecar(training="optional"),
    ],
)
def test_shaping_keys_change_the_artifact(other: Sidecar) -> None:
    assert other.shaping() != Sidecar().shaping()
