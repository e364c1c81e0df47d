"""What one turn of the loop may begin, on a loop that turns by hand."""

from __future__ import annotations

import asyncio

from service.turn import Turn


async def test_what_is_over_the_limit_waits_for_the_next_turn() -> None:
    loop = asyncio.get_running_loop()
    turn = Turn(2)
    assert [turn.begin(loop) for _ in range(4)] == [True, True, False, False]

    await asyncio.sleep(0)
    assert [turn.begin(loop) for _ in range(3)] == [True, True, False]
