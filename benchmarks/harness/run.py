"""The conditions of a run, common to all benchmarks."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


def default_peers() -> Path:
    return Path("~/.cache/tandem-peers").expanduser()


def _cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`folder` is empty and temporary. `quick` makes a run that only shows that all
    works: its figures mean little. `peers` are the other servers, installed in
    `peers_home`. Servers are pinned to one CPU and their clients to another.
    """

    folder: Path
    quick: bool = False
    peers: tuple[str, ...] = ()
    peers_home: Path = field(default_factory=default_peers)
    server_cpus: list[int] = field(default_factory=lambda: _cpus()[:1])
    client_cpus: list[int] = field(default_factory=lambda: _cpus()[-1:])

    @property
    def placements(self) -> dict[str, list[int]]:
        """Return CPUs for the server, by description; the clients' are the same."""
        both = sorted({*self.server_cpus, *self.client_cpus})
        return {
            "server on one CPU, client on another": self.server_cpus,
            "server on both CPUs, client on one of them": both,
        }

    def subfolder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, flush=True)
