from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inference.artifacts.cache import ArtifactCache
from inference.system.file_lock import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLDER = """
import sys
from pathlib import Path
from inference.artifacts.cache import ArtifactCache

cache = ArtifactCache(Path(sys.argv[1]))
with cache.try_lock("key"), cache.scratch() as folder:
    (folder / "graph.pb").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that holds the locks of a compilation."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_lock_is_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    with try_lock(path) as first, try_lock(path) as second:
        assert (first, second) == (True, False)

    assert not path.exists()


def test_lock_file_removed_after_opening_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next would lock a new file, and both would hold the lock."""
    path = tmp_path / "lock"

    def remove_and_lock(*_: object) -> None:
        path.unlink()

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", remove_and_lock)

        with try_lock(path) as locked:
            assert not locked

    with try_lock(path) as locked:
        assert locked


def test_remains_of_a_killed_process_are_swept(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    cache = ArtifactCache(tmp_path)
    assert holder.stdout is not None
    folder = Path(holder.stdout.readline().strip())
    (tmp_path / "0123abcd").mkdir()
    (tmp_path / "0123abcd.refused").touch()
    (tmp_path / ".new-orphan").mkdir()

    cache.sweep()

    assert (folder / "graph.pb").exists()
    assert (tmp_path / ".key.lock").exists()
    assert not (tmp_path / ".new-orphan").exists()

    with cache.try_lock("key") as locked:
        assert not locked

    holder.kill()
    holder.wait()
    cache.sweep()

    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["0123abcd", "0123abcd.refused"]


def test_missing_cache_needs_no_sweeping(tmp_path: Path) -> None:
    ArtifactCache(tmp_path / "none").sweep()

    assert not (tmp_path / "none").exists()
