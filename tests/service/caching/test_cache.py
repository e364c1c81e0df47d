"""Equal requests, run once and answered again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
import pytest

from inference import (
    CachePolicy,
    DeadlineExceeded,
    ModelId,
    ModelSpec,
    PredictRequest,
)
from service.caching.cache import Answer, CachedAnswer, NotCached, ResponseCache
from service.caching.directives import NO_DIRECTIVES, Directives
from service.caching.memory import MemoryStore
from tests.support.fakes import signature, tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

X = tensor("x", shape=(None,))
MAIN = signature(X)


def policy(*, repeatable: bool = True, digest: str = "first") -> CachePolicy:
    return CachePolicy(
        model=ModelId("half", 1),
        digest=digest,
        seconds=60,
        limit_seconds=30,
        default_signature="main",
        signatures={"main": replace(MAIN, repeatable=repeatable)},
    )


POLICY = policy()


def request(value: float = 1.0, timeout: float | None = None) -> PredictRequest:
    return PredictRequest(
        model=ModelSpec(name="half"), inputs={"x": [value]}, timeout=timeout
    )


@dataclass(kw_only=True)
class Run:
    """A model's run: counted, held by `gate`, ended by the next of `errors`."""

    digest: str = "first"
    gate: anyio.Event | None = None
    errors: list[Exception] = field(default_factory=list)
    count: int = 0

    async def __call__(self, request: PredictRequest) -> Answer:
        self.count += 1
        number = self.count

        if self.gate is not None:
            await self.gate.wait()

        if self.errors:
            raise self.errors.pop(0)

        return Answer(body=b"answer %d" % number, digest=self.digest)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def ask(
    cache: ResponseCache,
    run: Run,
    *,
    value: float = 1.0,
    directives: Directives = NO_DIRECTIVES,
    wait: float | None = None,
    policy: CachePolicy = POLICY,
) -> CachedAnswer:
    asked = request(value, wait)
    return await cache.answer(policy, asked, "v1", directives, run)


async def together(
    cache: ResponseCache, run: Run, waits: Sequence[float | None]
) -> list[CachedAnswer | Exception]:
    """Equal requests, the first of which leads; `run.gate` opens when all wait."""
    outcomes: list[CachedAnswer | Exception] = []

    async def one(wait: float | None) -> None:
        try:
            outcomes.append(await ask(cache, run, wait=wait))
        except Exception as exc:
            outcomes.append(exc)

    async with anyio.create_task_group() as tasks:
        for wait in waits:
            tasks.start_soon(one, wait)
            await anyio.wait_all_tasks_blocked()

        if run.gate is not None:
            run.gate.set()

    return outcomes


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ResponseCache:
    return ResponseCache(MemoryStore(1 << 20, clock))


def kinds(answers: Sequence[CachedAnswer | Exception]) -> Counter[str]:
    return Counter(
        each.outcome if isinstance(each, CachedAnswer) else type(each).__name__
        for each in answers
    )


async def test_an_equal_request_is_answered_from_the_store(
    cache: ResponseCache, clock: Clock
) -> None:
    run = Run()
    first = await ask(cache, run)
    clock.now = 20.0
    again = await ask(cache, run)
    other = await ask(cache, run, value=2.0)

    assert (first.outcome, first.stored) == ("miss", True)
    assert (again.outcome, again.body, again.age, again.ttl) == (
        *("hit", first.body),
        *(20.0, 40.0),
    )
    assert (other.outcome, run.count) == ("miss", 2)


async def test_an_answer_is_given_no_longer_than_its_seconds(
    cache: ResponseCache, clock: Clock
) -> None:
    run = Run()
    await ask(cache, run)
    clock.now = 60.0

    assert (await ask(cache, run)).outcome == "miss"


async def test_equal_requests_at_a_time_run_the_model_once(
    cache: ResponseCache,
) -> None:
    run = Run(gate=anyio.Event())
    answers = await together(cache, run, [None] * 8)

    assert run.count == 1
    assert kinds(answers) == {"miss": 1, "collapsed": 7}
    assert cache.outcomes["collapsed"] == 7


async def test_a_failure_is_not_shared(cache: ResponseCache) -> None:
    run = Run(gate=anyio.Event(), errors=[ValueError("only the first")])
    answers = await together(cache, run, [None] * 4)

    assert kinds(answers) == {"ValueError": 1, "miss": 3}
    assert (await ask(cache, run)).outcome == "hit"


async def test_a_cancelled_request_fails_no_other(cache: ResponseCache) -> None:
    run = Run(gate=anyio.Event())
    answers: list[CachedAnswer] = []

    async def one() -> None:
        answers.append(await ask(cache, run))

    async def leader() -> None:
        with leads:
            await ask(cache, run)

    leads = anyio.CancelScope()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leader)
        await anyio.wait_all_tasks_blocked()

        for _ in range(3):
            tasks.start_soon(one)

        await anyio.wait_all_tasks_blocked()
        leads.cancel()
        await anyio.wait_all_tasks_blocked()
        assert run.gate is not None
        run.gate.set()

    # The first run was given up, and one of the others ran it again for all.
    assert run.count == 2
    assert kinds(answers) == {"miss": 1, "collapsed": 2}


async def test_a_request_whose_time_is_over_fails_no_other(
    cache: ResponseCache,
) -> None:
    run = Run(gate=anyio.Event(), errors=[DeadlineExceeded("its own time")])
    answers = await together(cache, run, [None] * 3)

    assert kinds(answers) == {"DeadlineExceeded": 1, "miss": 1, "collapsed": 1}
    assert run.count == 2


async def test_a_request_waits_for_an_equal_one_within_its_own_time(
    cache: ResponseCache,
) -> None:
    run = Run(gate=anyio.Event())
    outcomes: list[CachedAnswer] = []

    async def leader() -> None:
        outcomes.append(await ask(cache, run))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leader)
        await anyio.wait_all_tasks_blocked()

        with pytest.raises(DeadlineExceeded, match="equal"):
            await ask(cache, run, wait=0.01)

        assert run.gate is not None
        run.gate.set()

    assert kinds(outcomes) == {"miss": 1}


async def test_the_answer_of_another_version_is_not_kept(cache: ResponseCache) -> None:
    newer = Run(digest="second")

    assert not (await ask(cache, newer)).stored
    assert (await ask(cache, newer)).outcome == "miss"


async def test_a_new_version_has_answers_of_its_own(cache: ResponseCache) -> None:
    await ask(cache, Run())
    newer = Run(digest="second")
    answer = await ask(cache, newer, policy=policy(digest="second"))

    assert (answer.outcome, newer.count) == ("miss", 1)


async def test_a_signature_that_draws_or_keeps_state_is_never_cached(
    cache: ResponseCache,
) -> None:
    run, random = Run(), policy(repeatable=False)
    answers = [await ask(cache, run, policy=random) for _ in range(2)]

    assert kinds(answers) == {"bypass": 2}
    assert run.count == 2


@pytest.mark.parametrize(
    ("directives", "outcome", "stored"),
    [
        pytest.param(Directives(), "hit", False, id="none"),
        pytest.param(Directives(no_cache=True), "request", True, id="no-cache"),
        pytest.param(Directives(no_store=True), "request", False, id="no-store"),
        pytest.param(Directives(max_age=10), "hit", False, id="max-age-of-its-age"),
        pytest.param(Directives(max_age=9), "request", True, id="max-age-too-short"),
        pytest.param(Directives(min_fresh=50), "hit", False, id="min-fresh-left"),
        pytest.param(Directives(min_fresh=51), "request", True, id="min-fresh-gone"),
        pytest.param(Directives(only_if_cached=True), "hit", False, id="only-if"),
    ],
)
async def test_the_client_decides_about_a_stored_answer(
    cache: ResponseCache,
    clock: Clock,
    directives: Directives,
    outcome: str,
    stored: bool,
) -> None:
    run = Run()
    await ask(cache, run)
    clock.now = 10.0
    answer = await ask(cache, run, directives=directives)

    assert (answer.outcome, answer.stored) == (outcome, stored)
    assert run.count == (1 if outcome == "hit" else 2)


async def test_a_request_that_is_not_to_be_stored_leaves_nothing(
    cache: ResponseCache,
) -> None:
    await ask(cache, Run(), directives=Directives(no_store=True))

    with pytest.raises(NotCached, match="only-if-cached"):
        await ask(cache, Run(), directives=Directives(only_if_cached=True))


async def test_a_fresh_answer_takes_the_stored_ones_place(cache: ResponseCache) -> None:
    run = Run()
    await ask(cache, run)
    fresh = await ask(cache, run, directives=Directives(no_cache=True))

    assert (await ask(cache, run)).body == fresh.body == b"answer 2"


@pytest.mark.parametrize(
    ("directives", "repeatable"),
    [
        pytest.param(Directives(only_if_cached=True), True, id="nothing-kept"),
        pytest.param(Directives(only_if_cached=True), False, id="nothing-ever-kept"),
        pytest.param(
            Directives(only_if_cached=True, no_cache=True), True, id="contradiction"
        ),
    ],
)
async def test_only_if_cached_runs_no_model(
    cache: ResponseCache, directives: Directives, repeatable: bool
) -> None:
    run = Run()

    with pytest.raises(NotCached):
        await ask(
            cache, run, directives=directives, policy=policy(repeatable=repeatable)
        )

    assert run.count == 0
