"""As many connections as the limit on open files leaves, and a word if that is few."""

from __future__ import annotations

import subprocess
import sys

from service.server.limits import SPARE_FILES

HARD = 1000
SCRIPT = """
import resource, sys
hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
from service.server.server import connection_limits
from service.settings.settings import load_settings
limits = connection_limits(load_settings(models="/", max_connections=wanted))
print(limits.connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def allowed(wanted: int) -> tuple[str, str]:
    """Return connections and files allowed, and the log, where `HARD` is the limit."""
    command = [sys.executable, "-c", SCRIPT, str(HARD), str(wanted)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    *log, last = run.stdout.splitlines()
    return last, "\n".join([*log, run.stderr])


def test_the_soft_limit_is_raised_to_what_connections_need() -> None:
    assert allowed(500) == (f"500 {500 + SPARE_FILES}", "")


def test_fewer_connections_than_wanted_are_warned_of() -> None:
    last, log = allowed(10_000)
    assert last == f"{HARD - SPARE_FILES} {HARD}"
    assert "fewer connections than --max-connections" in log
    assert "ulimit -Hn" in log
