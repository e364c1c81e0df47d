"""The folders of this process' control groups."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ReadText = Callable[[str], str]

MOUNT = "/sys/fs/cgroup"


def read_text(path: str) -> str:
    return Path(path).read_text(encoding="ascii", errors="replace")


def cgroup_folders(controller: str, read: ReadText) -> Iterator[str]:
    """Yield folders from this process' group of `controller` up to the root.

    Both versions are covered. `read` returns a file's text and raises `OSError` if
    there is none. A folder may come twice, or not exist.
    """
    # Inside a container the path in /proc may be the host's, absent below the
    # mount; the walk up ends at the mount itself, which is the container's own.
    for controllers, path in _memberships(controller, read):
        mount = f"{MOUNT}/{controllers}" if controllers else MOUNT
        for part in (PurePosixPath(path), *PurePosixPath(path).parents):
            yield mount + str(part).rstrip("/")


def _memberships(controller: str, read: ReadText) -> Iterator[tuple[str, str]]:
    """Yield `(controllers, path)`: `("", …)` for v2, `("cpu,cpuacct", …)` for v1."""
    yield from (("", "/"), (controller, "/"))
    with contextlib.suppress(OSError):
        for line in read("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or controller in controllers.split(","):
                yield controllers, path
