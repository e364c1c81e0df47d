from __future__ import annotations

from service.decoding.neighbours import ALONE_AFTER_SECONDS, Neighbours


def test_alone_once_one_model_has_been_asked_for_a_while() -> None:
    now = [100.0]
    neighbours = Neighbours(lambda: now[0])

    neighbours.note("light")
    neighbours.note("heavy")
    assert not neighbours.alone()

    now[0] += ALONE_AFTER_SECONDS
    neighbours.note("heavy")
    assert not neighbours.alone()

    now[0] += 0.001
    neighbours.note("heavy")
    assert neighbours.alone()

    neighbours.note("light")
    assert not neighbours.alone()


def test_alone_before_any_request() -> None:
    assert Neighbours().alone()
