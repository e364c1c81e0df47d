"""What one turn of the loop begins, on a loop that turns by hand."""

from __future__ import annotations

import asyncio
from functools import partial

from service.server.overload import LONGEST_LINE, Turnstile


async def test_a_turn_begins_so_many_and_keeps_the_order() -> None:
    loop = asyncio.get_running_loop()
    turnstile = Turnstile(at_once=2)
    begun: list[int] = []

    for number in range(5):
        turnstile.enter(partial(begun.append, number), loop)

    seen = [list(begun)]

    for _ in range(3):
        await asyncio.sleep(0)
        seen.append(list(begun))

    assert seen[0] == [0, 1]
    assert seen[1] == [0, 1, 2, 3]
    assert seen[2] == seen[3] == [0, 1, 2, 3, 4]

    await asyncio.sleep(0)
    turnstile.enter(partial(begun.append, 5), loop)
    assert begun[-1] == 5


async def test_who_comes_later_does_not_pass_the_line() -> None:
    loop = asyncio.get_running_loop()
    turnstile = Turnstile(at_once=1)
    begun: list[int] = []

    for number in range(3):
        turnstile.enter(partial(begun.append, number), loop)

    await asyncio.sleep(0)
    turnstile.enter(partial(begun.append, 3), loop)

    for _ in range(4):
        await asyncio.sleep(0)

    assert begun == [0, 1, 2, 3]


async def test_the_line_is_full_at_its_length() -> None:
    loop = asyncio.get_running_loop()
    turnstile = Turnstile(at_once=1, shortest=2)
    fullness = []

    for _ in range(4):
        fullness.append(turnstile.full)
        turnstile.enter(lambda: None, loop)

    assert fullness == [False, False, False, True]


def test_the_line_is_as_long_as_its_time_allows() -> None:
    turnstile = Turnstile(shortest=10)

    for seconds, longest in ((0.001, 100), (1.0, 10), (1e-9, LONGEST_LINE)):
        for _ in range(500):
            turnstile._measure(seconds)

        assert abs(turnstile.longest - longest) <= 1
