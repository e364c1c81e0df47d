from __future__ import annotations

from dataclasses import replace

import anyio
import numpy as np
import pytest

from inference.batching.call import Call, joinable_rows
from tests.support.servables import call
from tests.support.specs import signature, spec

ONE = np.zeros((3, 2), "float32")
FLAG = spec("on", "bool", (), default=np.array(False))


@pytest.mark.parametrize(
    ("shapes", "rows"),
    [
        pytest.param({"x": (3, 2)}, 3, id="rows"),
        pytest.param({"x": (3,)}, 3, id="rows of one number"),
        pytest.param({"x": (3, 2), "z": (3, 4, 5)}, 3, id="two inputs"),
        pytest.param({"x": (3, 2), "z": (4, 2)}, 0, id="two counts"),
        pytest.param({"x": (3, 2), "z": ()}, 0, id="a scalar beside rows"),
        pytest.param({"z": (), "x": (3, 2)}, 0, id="rows beside a scalar"),
        pytest.param({"x": ()}, 0, id="a scalar"),
        pytest.param({"x": (0, 2)}, 0, id="no rows"),
        pytest.param({"x": (0, 2), "z": (3,)}, 0, id="no rows beside rows"),
        pytest.param({"x": (3, 2), "on": ()}, 0, id="an optional input"),
        pytest.param({"x": (3, 2), "on": (3,)}, 0, id="an optional input of rows"),
        pytest.param({}, 0, id="no inputs"),
    ],
)
def test_joinable_rows_by_signature_and_inputs(
    shapes: dict[str, tuple[int, ...]], rows: int
) -> None:
    found = replace(signature(spec("x"), spec("z"), FLAG), batchable=True)
    inputs = {name: np.zeros(shape) for name, shape in shapes.items()}

    assert joinable_rows(found, inputs) == rows
    assert joinable_rows(replace(found, batchable=False), inputs) == 0


def test_a_call_for_an_output_that_joins_no_rows_runs_alone() -> None:
    found = replace(signature(spec("x")), batchable=True, alone=("inner",))

    assert joinable_rows(found, {"x": ONE}, ("y",)) == 3
    assert joinable_rows(found, {"x": ONE}, ("y", "inner")) == 0


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param({}, True, id="all"),
        pytest.param({"x": np.zeros((9, 2), "float32")}, True, id="another count"),
        pytest.param({"x": np.zeros((3, 4), "float32")}, False, id="another width"),
        pytest.param({"x": np.zeros((3, 2, 1), "float32")}, False, id="another rank"),
        pytest.param({"outputs": ("y", "z")}, False, id="other outputs"),
        pytest.param({"name": "other"}, False, id="another signature"),
        pytest.param({"batchable": False}, False, id="not batchable"),
    ],
)
async def test_calls_of_equal_shape_share_a_group(
    other: dict[str, object], same: bool
) -> None:
    def made(
        *,
        x: object = ONE,
        outputs: tuple[str, ...] = ("y",),
        name: str = "one",
        batchable: bool = True,
    ) -> Call:
        found = replace(signature(spec("x")), name=name, batchable=batchable)
        inputs = {"x": np.asarray(x)}
        return Call(found, inputs, outputs, arrived=0.0, deadline=1.0)

    assert (made().group == made(**other).group) is same  # type: ignore[arg-type]


async def wait_for(call: Call) -> None:
    await call.result()


async def test_result_waits_for_the_outcome() -> None:
    each = call(1)
    outputs = {"y": ONE}

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for, each)
        await anyio.wait_all_tasks_blocked()
        assert not each.ended
        each.succeed(outputs)

    assert each.ended
    assert await each.result() is outputs


async def test_outcome_after_cancellation_is_ignored() -> None:
    each = call(1)
    outputs = {"y": ONE}

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for, each)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

    assert not each.ended
    each.succeed(outputs)
    assert await each.result() is outputs


@pytest.mark.parametrize("second", ["succeed", "fail"])
async def test_first_outcome_stays(second: str) -> None:
    good, bad = call(1), call(2)
    good.succeed({"y": ONE})
    bad.fail(ValueError("first"))

    for each in (good, bad):
        if second == "succeed":
            each.succeed({})
        else:
            each.fail(ValueError("second"))

    assert await good.result() == {"y": ONE}

    with pytest.raises(ValueError, match="first"):
        await bad.result()
