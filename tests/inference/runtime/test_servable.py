from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.artifacts.artifact import Artifact, DamagedArtifact
from inference.backend import tf, tf1
from inference.errors import InputMismatch, UnknownSignature
from inference.runtime.servable import Servable, Threads
from tests import PROJECT
from tests.support.graphs import (
    compile_graph,
    floats,
    rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KERNEL = floats(16, 300)
SERVE_ALONE = """
import sys
from pathlib import Path

import numpy as np

import inference
from inference.artifacts.artifact import Artifact
from inference.runtime.servable import Servable

with Servable(Artifact(Path(sys.argv[1]))) as servable:
    assert servable.run("serving_default", {"x": np.ones((2, 16), "f4")})

print(*sorted(sys.modules))
"""


def several() -> None:
    """Two outputs, an input whose size only the graph knows, an optional one."""
    x = rows("x", None)
    gain = tf1.placeholder_with_default(1.0, [], name="gain")
    tf.multiply(tf.matmul(x, KERNEL), gain, name="product")
    tf.reduce_max(x, 1, name="largest")


def eights() -> None:
    tf.reshape(rows("x"), [-1, 8], name="eights")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compile_graph(tmp_path_factory.mktemp("several"), several)


@pytest.fixture
def servable(artifact: Artifact) -> Iterator[Servable]:
    with Servable(artifact) as servable:
        yield servable


@pytest.fixture
def copy(artifact: Artifact, tmp_path: Path) -> Artifact:
    """Return an artifact for a test to damage."""
    return Artifact(shutil.copytree(artifact.folder, tmp_path / "copy"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record the outputs of each callable that the session makes."""
    fetched = []
    make = tf1.Session._make_callable_from_options

    def counting(session: Any, options: Any) -> Any:
        fetched.append(list(options.fetch))
        return make(session, options)

    monkeypatch.setattr(tf1.Session, "_make_callable_from_options", counting)
    return fetched


def test_outputs_come_by_name(servable: Servable) -> None:
    x = floats(3, 16)
    outputs = servable.run("serving_default", {"x": x})

    np.testing.assert_allclose(outputs["product"], x @ KERNEL, atol=1e-5)
    np.testing.assert_array_equal(outputs["largest"], x.max(1))


def test_only_requested_outputs(servable: Servable) -> None:
    inputs = {"x": floats(3, 16)}

    assert list(servable.run("serving_default", inputs, ["largest"])) == ["largest"]
    assert list(servable.run("serving_default", inputs, ("largest", "product"))) == [
        "largest",
        "product",
    ]


def test_an_optional_input_has_its_default(servable: Servable) -> None:
    x = floats(3, 16)
    plain = servable.run("serving_default", {"x": x})["product"]
    sent = {"x": x, "gain": np.array(-2.0, "float32")}
    scaled = servable.run("serving_default", sent)["product"]

    np.testing.assert_allclose(scaled, plain * -2.0, atol=1e-5)


def test_zero_rows_run(servable: Servable) -> None:
    outputs = servable.run("serving_default", {"x": np.ones((0, 16), "float32")})

    assert outputs["product"].shape == (0, 300)


@pytest.mark.parametrize("threads", [Threads(), Threads(intra_op=2, inter_op=2)])
def test_many_threads_get_their_own_answers(
    artifact: Artifact, threads: Threads, made: list[list[str]]
) -> None:
    workers = 16
    together = threading.Barrier(workers)

    def work(number: int, servable: Servable) -> None:
        x = np.full((number % 3 + 1, 16), number, "float32")
        together.wait()

        for turn in range(50):
            gain = np.array(turn, "float32")
            outputs = servable.run("serving_default", {"x": x, "gain": gain})
            assert (outputs["largest"] == number).all()
            wanted = x @ KERNEL * turn
            np.testing.assert_allclose(outputs["product"], wanted, rtol=1e-4, atol=1e-2)

    with (
        Servable(artifact, threads=threads) as servable,
        ThreadPoolExecutor(workers) as pool,
    ):
        done = [pool.submit(work, number, servable) for number in range(workers)]

        for each in done:
            each.result()

    assert len(made) == 1


def test_warm_up_prepares_the_first_call(
    servable: Servable, made: list[list[str]]
) -> None:
    servable.warm_up()
    assert len(made) == 1

    servable.run("serving_default", {"x": floats(1, 16)})
    assert len(made) == 1


def test_one_callable_for_each_set_of_outputs(
    servable: Servable, made: list[list[str]]
) -> None:

    orders = (["product", "largest"], ["largest", "product"])

    for outputs in (None, ["largest"], ("largest",), *orders, *orders):
        servable.run("serving_default", {"x": floats(1, 16)}, outputs)

    assert sorted(map(len, made)) == [1, 2, 2]


def test_an_unknown_signature(servable: Servable) -> None:
    with pytest.raises(UnknownSignature, match="'classify'; it has: serving_default"):
        servable.run("classify", {"x": floats(1, 16)})


def test_graph_size_mismatch_is_the_inputs_fault(servable: Servable) -> None:
    with pytest.raises(InputMismatch, match=r"refused the input: Matrix size-incompat"):
        servable.run("serving_default", {"x": floats(2, 7)})

    # A refusal breaks nothing.
    assert servable.run("serving_default", {"x": floats(2, 16)})


def test_failing_reshape_is_the_inputs_fault(tmp_path: Path) -> None:
    with (
        Servable(compile_graph(tmp_path, eights)) as servable,
        pytest.raises(InputMismatch, match="7 values.*multiple of 8"),
    ):
        servable.run("serving_default", {"x": floats(7)})


def test_close_is_idempotent(artifact: Artifact) -> None:
    servable = Servable(artifact)
    servable.close()
    servable.close()

    with Servable(artifact) as another:
        assert another.run("serving_default", {"x": floats(1, 16)})


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda a: shorten(a.graph), id="cut graph"),
        pytest.param(lambda a: change(a.graph), id="changed graph"),
        pytest.param(lambda a: shorten(a.weights), id="cut weights"),
        pytest.param(lambda a: a.weights.write_bytes(b"more"), id="longer weights"),
        pytest.param(lambda a: a.graph.unlink(), id="no graph"),
        pytest.param(lambda a: a.weights.unlink(), id="no weights"),
        pytest.param(lambda a: a.manifest.unlink(), id="no manifest"),
        pytest.param(lambda a: shorten(a.manifest), id="cut manifest"),
        pytest.param(lambda a: edit(a.manifest, format_version=0), id="other format"),
        pytest.param(lambda a: edit(a.manifest, news=1), id="a newer manifest"),
    ],
)
def test_a_damaged_artifact_isnt_loaded(
    copy: Artifact, damage: Callable[[Artifact], object]
) -> None:
    assert copy.read_manifest().weights_bytes == KERNEL.nbytes
    damage(copy)

    with pytest.raises(DamagedArtifact, match=str(copy.folder)):
        Servable(copy)


def test_serving_needs_no_keras_and_no_source(artifact: Artifact) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE_ALONE, artifact.folder],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert "tensorflow" in packages
    assert not packages & {"keras", "tf_keras", "flask", "uvicorn", "service"}
    modules = {".".join(name.split(".")[:2]) for name in done.stdout.split()}
    assert not modules & {"inference.formats", "inference.compiler"}
    assert done.stderr == ""
