from __future__ import annotations

from inference import Times
from service.telemetry.timing import Trace, server_timing


def test_times_are_in_milliseconds_and_binding_is_decoding() -> None:
    times = Times(bind=0.001, queue=0.25, compute=1.5)

    assert server_timing(times, decode=0.0004, encode=0.00005) == (
        "queue;dur=250.000, decode;dur=1.400, compute;dur=1500.000, encode;dur=0.050"
    )


def test_without_an_answer_there_is_nothing_to_tell() -> None:
    assert Trace().headers() == {}
