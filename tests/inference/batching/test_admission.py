from __future__ import annotations

import pytest

from inference.batching.admission import AdmissionController, ServiceTime
from inference.errors import Overloaded


def controller(max_queue: int, seconds_per_call: float = 0.0) -> AdmissionController:
    service_time = ServiceTime()

    if seconds_per_call:
        service_time.add(seconds_per_call, calls=1, concurrent=1)

    return AdmissionController(max_queue=max_queue, service_time=service_time)


@pytest.mark.parametrize(
    ("max_queue", "waiting", "idle", "admitted"),
    [
        pytest.param(2, 0, 0, True, id="empty"),
        pytest.param(2, 1, 0, True, id="one place"),
        pytest.param(2, 2, 0, False, id="full"),
        pytest.param(2, 9, 0, False, id="more than full"),
        pytest.param(2, 2, 1, True, id="one is about to run"),
        pytest.param(2, 3, 1, False, id="full behind the one that is about to run"),
        pytest.param(0, 0, 0, False, id="none may wait"),
        pytest.param(0, 0, 2, True, id="none may wait, two may run"),
        pytest.param(0, 1, 2, True, id="none may wait, one more may run"),
        pytest.param(0, 2, 2, False, id="none may wait, two are about to run"),
    ],
)
def test_full_queue_is_refused(
    max_queue: int, waiting: int, idle: int, admitted: bool
) -> None:
    admission = controller(max_queue)

    if admitted:
        admission.check(waiting, idle, 1.0)
        return

    with pytest.raises(Overloaded, match=f"the limit is {max_queue}"):
        admission.check(waiting, idle, 1.0)


@pytest.mark.parametrize(
    ("seconds_per_call", "waiting", "seconds"),
    [
        pytest.param(0.0, 50, 0.1, id="nothing measured"),
        pytest.param(0.0001, 50, 0.1, id="never at once"),
        pytest.param(0.05, 50, 2.5, id="as measured"),
        pytest.param(30.0, 50, 60.0, id="a minute at most"),
    ],
)
def test_retry_after_follows_the_expected_wait(
    seconds_per_call: float, waiting: int, seconds: float
) -> None:
    admission = controller(waiting, seconds_per_call)

    with pytest.raises(Overloaded) as caught:
        admission.check(waiting, 0, 1.0)

    assert caught.value.retry_after == pytest.approx(seconds)


def test_request_that_would_expire_in_the_queue_is_refused() -> None:
    admission = controller(100, seconds_per_call=0.5)
    admission.check(8, 0, 4.0)
    admission.check(9, 1, 4.0)

    with pytest.raises(
        Overloaded, match=r"about 4\.5 s, and this one has 4 s"
    ) as caught:
        admission.check(9, 0, 4.0)

    assert caught.value.retry_after == pytest.approx(0.5)


def test_request_for_an_idle_token_is_always_admitted() -> None:
    controller(100, seconds_per_call=50.0).check(0, 0, 0.001)


def test_service_time_is_shared_by_a_batch() -> None:
    service_time = ServiceTime()
    service_time.add(6.0, calls=3, concurrent=2)
    assert service_time.seconds_per_call == 1.0

    for _ in range(200):
        service_time.add(8.0, calls=4, concurrent=1)

    assert service_time.seconds_per_call == pytest.approx(2.0)


def test_service_time_is_a_moving_average() -> None:
    service_time = ServiceTime()
    service_time.add(1.0, calls=1, concurrent=1)
    service_time.add(11.0, calls=1, concurrent=1)
    assert service_time.seconds_per_call == pytest.approx(2.0)
