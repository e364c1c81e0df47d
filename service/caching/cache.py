"""Answers given again to equal requests, and equal requests run as one."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import anyio

from inference import DeadlineExceeded
from service.caching.question import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from inference import CachePolicy, ModelId, PredictRequest
    from service.caching.directives import Directives
    from service.caching.store import AnswerStore, Body, StoreFigures

    Run = Callable[[PredictRequest], Awaitable["Answer"]]

HIT, MISS, COLLAPSED = "hit", "miss", "collapsed"
REQUEST, BYPASS = "request", "bypass"
OUTCOMES = (HIT, MISS, COLLAPSED, REQUEST, BYPASS)
"""Ways in which a request is answered, by the words of RFC 9211.

`collapsed` is by the run of an equal request, `request` by the model because the
client's `Cache-Control` wants that, `bypass` by the model because the answer can't be
kept.
"""


class NotCached(Exception):
    """No answer is kept, and the client wants no other."""


class Answer(NamedTuple):
    """An encoded answer, and the digest of the version that gave it."""

    # Made for each request, where a frozen dataclass takes several times as long.

    body: Body
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAnswer:
    """An answer and what the cache did for it.

    `age` and `ttl` are in seconds, of an answer from the store; another one has the
    `digest` of the version that gave it.
    """

    body: Body
    outcome: str
    digest: str = ""
    stored: bool = False
    age: float = 0.0
    ttl: float = 0.0


@dataclass(slots=True, kw_only=True)
class CacheUse:
    """One request's use of a cache; `answer` is what came of it."""

    cache: ResponseCache
    directives: Directives
    answer: CachedAnswer | None = None


@dataclass(slots=True)
class Lookups:
    """A number of look-ups, and the seconds that all took."""

    count: int = 0
    seconds: float = 0.0


class _Flight:
    """A request that runs for all equal ones: its answer, once there is one.

    `failed` says that the model refused: each of the others then asks it itself.
    Without either the leader gave up, and another one takes its place.
    """

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.answer: CachedAnswer | None = None
        self.failed = False


class ResponseCache:
    """A store of answers, and the requests that run now. For one event loop.

    As a context manager it holds the store open.
    """

    def __init__(self, store: AnswerStore) -> None:
        self._store = store
        self._flights: dict[str, _Flight] = {}
        self._lookups: defaultdict[tuple[ModelId, bool], Lookups] = defaultdict(Lookups)
        self._outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        # Large inputs are hashed beside the loop.
        self._hashing = anyio.CapacityLimiter(2)

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._store.__aexit__(*exc_info)

    @property
    def outcomes(self) -> dict[str, int]:
        """The requests since the start, by outcome."""
        return dict(self._outcomes)

    @property
    def shared(self) -> bool:
        """True if other processes have the same answers."""
        return self._store.shared

    async def figures(self) -> StoreFigures | None:
        """Return the store's figures, `None` while it is away."""
        return await self._store.figures()

    def lookups(self, model: ModelId) -> tuple[Lookups, Lookups]:
        """Return the look-ups of a version that found an answer, and the others."""
        hits, misses = (self._lookups.get((model, hit)) for hit in (True, False))
        return hits or Lookups(), misses or Lookups()

    async def answer(
        self,
        policy: CachePolicy,
        request: PredictRequest,
        encoding: str,
        directives: Directives,
        run: Run,
    ) -> CachedAnswer:
        """Return the answer that is kept, or run the model, once for equal requests.

        `encoding` names the protocol and form of the answer of `run`. Raise what `run`
        raises, and `NotCached`.
        """
        limit = policy.limit_seconds
        seconds = limit if request.timeout is None else min(limit, request.timeout)
        ends = anyio.current_time() + seconds
        question = await ask(policy, request, encoding, self._hashing)
        visit = _Visit(
            policy=policy,
            request=request if question is None else question.request,
            key=None if question is None else question.key,
            directives=directives,
            ends=ends,
            run=run,
        )
        answer = await self._answer(visit)
        self._outcomes[answer.outcome] += 1
        return answer

    async def _answer(self, visit: _Visit) -> CachedAnswer:
        directives = visit.directives

        if directives.only_if_cached:
            return await self._only_stored(visit)

        if visit.key is None:
            return await visit.forward(BYPASS)

        if directives.no_store:
            return await visit.forward(REQUEST)

        if directives.no_cache:
            return await self._keep(visit, await visit.forward(REQUEST))

        while (flight := self._flights.get(visit.key)) is not None:
            await visit.wait(flight.ended)

            if flight.answer is not None:
                return await self._shared(visit, flight.answer)

            if flight.failed:
                return await self._keep(visit, await visit.forward(MISS))

        return await self._lead(visit, visit.key)

    async def _only_stored(self, visit: _Visit) -> CachedAnswer:
        found = None if visit.directives.no_cache else await self._find(visit)

        if found is None or not visit.allows(found):
            raise NotCached(
                "No answer to this request is kept that its Cache-Control allows: "
                "leave out 'only-if-cached' to have the model run."
            )

        return found

    async def _lead(self, visit: _Visit, key: str) -> CachedAnswer:
        """Answer a request that others may wait for meanwhile."""
        flight = self._flights[key] = _Flight()

        try:
            found = await self._find(visit)

            if found is None or not visit.allows(found):
                found = await visit.forward(MISS if found is None else REQUEST)

            flight.answer = found
            flight.ended.set()
            return await self._keep(visit, found)
        except DeadlineExceeded:
            # Its own deadline: the others may have more time.
            raise
        except Exception:
            flight.failed = True
            raise
        finally:
            del self._flights[key]
            flight.ended.set()

    async def _shared(self, visit: _Visit, answer: CachedAnswer) -> CachedAnswer:
        """Return an equal request's answer, unless the client wants a newer one."""
        if not visit.allows(answer):
            return await self._keep(visit, await visit.forward(REQUEST))

        return answer if answer.outcome == HIT else replace(answer, outcome=COLLAPSED)

    async def _find(self, visit: _Visit) -> CachedAnswer | None:
        if visit.key is None:
            return None

        seconds = visit.policy.seconds
        started = anyio.current_time()
        found = await self._store.get(visit.key, seconds)
        lookups = self._lookups[visit.policy.model, found is not None]
        lookups.count += 1
        lookups.seconds += anyio.current_time() - started

        if found is None:
            return None

        left = seconds - found.age
        return CachedAnswer(body=found.body, outcome=HIT, age=found.age, ttl=left)

    async def _keep(self, visit: _Visit, answer: CachedAnswer) -> CachedAnswer:
        """Store an answer, unless it comes from there or from another version."""
        if visit.key is None or answer.digest != visit.policy.digest:
            return answer

        kept = await self._store.put(visit.key, answer.body, visit.policy.seconds)
        return replace(answer, stored=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    """One request; without a `key` its answer can't be kept. `ends` is its deadline."""

    policy: CachePolicy
    request: PredictRequest
    key: str | None
    directives: Directives
    ends: float
    run: Run

    async def forward(self, outcome: str) -> CachedAnswer:
        """Run the model in the time that is left."""
        left = self.ends - anyio.current_time()

        if left <= 0:
            raise _too_late()

        answer = await self.run(replace(self.request, timeout=left))
        return CachedAnswer(body=answer.body, outcome=outcome, digest=answer.digest)

    async def wait(self, ended: anyio.Event) -> None:
        with anyio.CancelScope(deadline=self.ends):
            await ended.wait()
            return

        raise _too_late()

    def allows(self, answer: CachedAnswer) -> bool:
        return self.directives.allow(answer.age, self.policy.seconds)


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded(
        "The request's time is over: it waited for the answer to an equal one."
    )
