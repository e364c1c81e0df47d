"""Fifty concurrent clients load, unload and ask one model without errors.

They run for `TANDEM_TEST_THREADS_SECONDS`, by default 5.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
import httpx
import pytest

from tests.e2e.sites import AUTHORIZED, PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.sites import Client, Site

NAME = "busy"
THREADS = 50
SECONDS = float(os.environ.get("TANDEM_TEST_THREADS_SECONDS", "5"))

pytestmark = pytest.mark.timeout(SECONDS + 2 * PATIENCE_SECONDS)

Act = tuple[str, int]


def ask(client: httpx.Client) -> Act:
    answer = client.post(f"/v1/models/{NAME}:predict", json={"instances": [3.0]})

    if answer.status_code == 200:
        assert answer.json() == {"predictions": [3.0]}

    return "ask", answer.status_code


def act(kind: str, client: httpx.Client) -> Act:
    path = f"/v1/admin/models/{NAME}/{kind}"
    return kind, client.post(path, headers=AUTHORIZED).status_code


def choose(chance: random.Random) -> Callable[[httpx.Client], Act]:
    kinds = (ask, partial(act, "load"), partial(act, "unload"))
    return chance.choices(kinds, weights=(8, 1, 1))[0]


def work(url: str, until: float, seed: int) -> Counter[Act]:
    """Return one client's answers by action. A deadlock shows as a timeout."""
    chance = random.Random(seed)
    seen: Counter[Act] = Counter()

    with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
        while time.monotonic() < until:
            seen[choose(chance)(client)] += 1

    return seen


def work_together(url: str) -> Counter[Act]:
    until = time.monotonic() + SECONDS

    with ThreadPoolExecutor(THREADS) as pool:
        parts = [pool.submit(work, url, until, seed) for seed in range(THREADS)]
        return sum((part.result() for part in parts), Counter())


async def test_no_deadlock_and_no_failure_but_503(client: Client, living: Site) -> None:
    living.bring("one", f"{NAME}.pb")
    await client.serves(NAME)

    seen = await anyio.to_thread.run_sync(work_together, living.server.url)

    statuses = {status for _, status in seen}
    assert statuses <= {200, 429, 503}, seen
    assert all(seen[kind, 200] for kind in ("ask", "load", "unload")), seen
    assert '"level":"error"' not in "".join(errors(living)), seen

    answer = await client.admin("POST", f"models/{NAME}/load")
    assert answer.status_code == 200
    assert await client.factor(NAME) == 1.0
    left = (await client.version(NAME))["load"]
    assert left == {"running": 0, "waiting": 0, "orphans": 0, "tokens": 0}
    print(f"\n{SECONDS:g} s: {dict(sorted(seen.items()))}")  # noqa: T201


def errors(living: Site) -> list[str]:
    """Return the log's errors of this model, or of none."""
    lines = living.server.log.read_text().splitlines()
    return [line for line in lines if f'"model":"{NAME}"' in line]
