from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import pytest

from inference.system.cpus import affinity_cpus, available_cpus, cgroup_cpus, cpu_name

if TYPE_CHECKING:
    from collections.abc import Callable

V2 = {"/proc/self/cgroup": "0::/\n"}
POD = "/kubepods/pod1/c1"
V2_NESTED = {"/proc/self/cgroup": f"0::{POD}\n"}
V1 = {"/proc/self/cgroup": "5:memory:/a\n3:cpu,cpuacct:/docker/x\n"}
V1_CPU = "/sys/fs/cgroup/cpu,cpuacct/docker/x"


def reader(files: dict[str, str]) -> Callable[[str], str]:
    def read(path: str) -> str:
        if path not in files:
            raise FileNotFoundError(path)

        return files[path]

    return read


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, None, id="no cgroups"),
        pytest.param(V2, None, id="v2 without cpu.max"),
        pytest.param(V2 | {"/sys/fs/cgroup/cpu.max": "max 100000\n"}, None, id="max"),
        pytest.param(V2 | {"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5, id="v2"),
        pytest.param(V2 | {"/sys/fs/cgroup/cpu.max": "nonsense"}, None, id="garbage"),
        pytest.param(V2 | {"/sys/fs/cgroup/cpu.max": "1 0"}, None, id="no period"),
        pytest.param(
            V2_NESTED
            | {
                f"/sys/fs/cgroup{POD}/cpu.max": "max 100000",
                "/sys/fs/cgroup/kubepods/pod1/cpu.max": "200000 100000",
                "/sys/fs/cgroup/kubepods/cpu.max": "800000 100000",
            },
            2.0,
            id="the tightest ancestor",
        ),
        pytest.param(
            V2_NESTED | {"/sys/fs/cgroup/cpu.max": "300000 100000"},
            3.0,
            id="a host path that the container does not see",
        ),
        pytest.param(
            V1
            | {
                f"{V1_CPU}/cpu.cfs_quota_us": "50000\n",
                f"{V1_CPU}/cpu.cfs_period_us": "100000\n",
            },
            0.5,
            id="v1",
        ),
        pytest.param(
            V1
            | {
                f"{V1_CPU}/cpu.cfs_quota_us": "-1\n",
                f"{V1_CPU}/cpu.cfs_period_us": "100000\n",
            },
            None,
            id="v1 without limit",
        ),
        pytest.param(
            {
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            4.0,
            id="v1 at the mount, no /proc",
        ),
    ],
)
def test_cgroup_cpus(files: dict[str, str], expected: float | None) -> None:
    assert cgroup_cpus(reader(files)) == expected


@pytest.mark.parametrize(
    ("quota", "affinity", "expected"),
    [
        pytest.param("max 100000", 8, 8, id="affinity alone"),
        pytest.param("200000 100000", 8, 2, id="quota below affinity"),
        pytest.param("150000 100000", 8, 2, id="a part counts as one"),
        pytest.param("1000 100000", 8, 1, id="never none"),
        pytest.param("900000 100000", 4, 4, id="affinity below quota"),
    ],
)
def test_available_cpus(quota: str, affinity: int, expected: int) -> None:
    read = reader(V2 | {"/sys/fs/cgroup/cpu.max": quota})

    assert available_cpus(read, lambda: affinity) == expected


def test_this_machine() -> None:
    assert 1 <= available_cpus() <= affinity_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"/proc/cpuinfo": "processor\t: 0\nmodel name\t: A: 1\n\nmodel name: B\n"},
            "A: 1",
            id="the first",
        ),
        pytest.param({"/proc/cpuinfo": "processor : 0\n"}, "m6", id="not named"),
        pytest.param({}, "m6", id="no such file"),
    ],
)
def test_cpu_name_is_read(
    files: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "processor", str)
    monkeypatch.setattr(platform, "machine", lambda: "m6")

    assert cpu_name(reader(files)) == expected


def test_this_machines_cpus_have_a_name() -> None:
    assert cpu_name()
