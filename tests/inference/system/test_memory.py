from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from inference.system.memory import MIB, available_memory, show_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

GIB = 1024**3
MACHINE = {"/proc/meminfo": f"MemFree: 1 kB\nMemTotal:  {8 * GIB // 1024} kB\n"}
POD = "/kubepods/pod1/c1"
V2 = MACHINE | {"/proc/self/cgroup": f"0::{POD}\n"}
V1 = MACHINE | {"/proc/self/cgroup": "5:memory:/docker/x\n3:cpu,cpuacct:/a\n"}
V1_NONE = "9223372036854771712\n"


def reader(files: dict[str, str]) -> Callable[[str], str]:
    def read(path: str) -> str:
        if path not in files:
            raise FileNotFoundError(path)

        return files[path]

    return read


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        pytest.param(MACHINE, None, id="no cgroups"),
        pytest.param(V2, None, id="v2 without memory.max"),
        pytest.param(V2 | {"/sys/fs/cgroup/memory.max": "max\n"}, None, id="max"),
        pytest.param(V2 | {"/sys/fs/cgroup/memory.max": ""}, None, id="garbage"),
        pytest.param(V2 | {"/sys/fs/cgroup/memory.max": "0"}, None, id="nothing"),
        pytest.param(
            V2 | {"/sys/fs/cgroup/memory.max": f"{2 * GIB}\n"}, 2 * GIB, id="v2"
        ),
        pytest.param(
            V2
            | {
                f"/sys/fs/cgroup{POD}/memory.max": "max\n",
                "/sys/fs/cgroup/kubepods/pod1/memory.max": f"{GIB}\n",
                "/sys/fs/cgroup/kubepods/memory.max": f"{4 * GIB}\n",
            },
            GIB,
            id="the tightest ancestor",
        ),
        pytest.param(
            V2 | {"/sys/fs/cgroup/memory.max": f"{9 * GIB}\n"},
            None,
            id="more than the machine has",
        ),
        pytest.param(
            V1 | {"/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": f"{GIB}\n"},
            GIB,
            id="v1",
        ),
        pytest.param(
            V1 | {"/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": V1_NONE},
            None,
            id="v1 without limit",
        ),
        pytest.param(
            MACHINE | {"/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}"},
            GIB,
            id="v1 at the mount, no /proc",
        ),
    ],
)
def test_available_memory(files: dict[str, str], limit: int | None) -> None:
    assert available_memory(reader(files)) == (limit or 8 * GIB)


@pytest.mark.parametrize("files", [{}, {"/proc/meminfo": "MemTotal: many"}])
def test_a_machine_without_a_readable_meminfo(files: dict[str, str]) -> None:
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    assert available_memory(reader(files)) == pages


def test_this_machine() -> None:
    assert 2**26 < available_memory() < 2**50


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (1023, "1023 bytes"),
        (64 * 1024, "64.0 KiB"),
        (1536 * MIB + MIB // 2, "1,536.5 MiB"),
    ],
)
def test_sizes_for_people(nbytes: int, text: str) -> None:
    assert show_bytes(nbytes) == text
