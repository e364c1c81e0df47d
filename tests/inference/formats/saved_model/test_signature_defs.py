"""Signatures that can't be served: named with their reason, never replaced."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from inference import Precompilation, Precompiled
from inference.backend import tf
from inference.errors import (
    InvalidModel,
    InvalidRequest,
    InvalidSidecar,
    UnknownSignature,
)
from inference.formats.opening import open_source
from inference.inputs.recorded_requests import RecordedRequest
from inference.repository.sidecar import Sidecar
from inference.runtime.servable import Servable
from inference.runtime.tuning import Tuning, tune
from inference.runtime.warmup import replay
from inference.types import UNNAMED, ModelId
from service.terminal.report import print_inspection
from tests.support.echo import Held, ask, available
from tests.support.graphs import compile_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inference.artifacts.artifact import Artifact
    from inference.formats.graph.source import Source

UNKNOWN_DTYPE = 1999


def module() -> Any:
    """`plain` doubles; each other function takes or gives what isn't a value."""
    made = tf.Module()
    made.gain = tf.Variable(2.0)
    rank = tf.constant([], tf.int32)

    def items(x: Any) -> Any:
        return tf.raw_ops.TensorListFromTensor(tensor=x, element_shape=rank)

    def read(handle: Any) -> Any:
        return tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)

    numbers = [tf.TensorSpec([None], name="x")]
    handle = [tf.TensorSpec([], tf.resource, name="handle")]
    made.plain = tf.function(lambda x: {"y": x * made.gain}, numbers)
    made.variant = tf.function(lambda x: {"items": items(x)}, numbers)
    made.mixed = tf.function(lambda x: {"items": items(x), "y": x + 1.0}, numbers)
    made.resource = tf.function(lambda handle: {"read": read(handle)}, handle)
    return made


def save(folder: Path, **signatures: str) -> Path:
    """Write a SavedModel of the functions that are named for each signature."""
    made = module()
    functions = {key: getattr(made, name) for key, name in signatures.items()}
    tf.saved_model.save(made, str(folder), signatures=functions)
    return folder


def edit(folder: Path, change: Callable[[Any], None], *, signature: str) -> Path:
    """Change one signature's definition, as another writer would have written it."""
    model = saved_model_pb2.SavedModel()
    file = folder / "saved_model.pb"
    model.ParseFromString(file.read_bytes())
    change(model.meta_graphs[0].signature_def[signature])
    file.write_bytes(model.SerializeToString())
    return folder


def of_no_dtype(definition: Any) -> None:
    definition.outputs["y"].dtype = UNKNOWN_DTYPE


def without_outputs(definition: Any) -> None:
    definition.outputs.clear()


def encoded(definition: Any) -> None:
    definition.outputs["y"].composite_tensor.type_spec.type_spec_class_name = "Pairs"


@contextmanager
def opened(path: Path, **sidecar: Any) -> Iterator[Source]:
    with open_source(path, Sidecar(**sidecar)) as source:
        yield source


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Write a model whose default signature returns a variant; two others work."""
    root = tmp_path_factory.mktemp("refused")
    path = save(root / "m", serving_default="variant", b="plain", a="mixed")
    return compile_path(path, root / "artifact")


@pytest.mark.parametrize(
    ("default", "change", "reason"),
    [
        pytest.param("variant", None, "'items' is a variant", id="variant out"),
        pytest.param("resource", None, "'handle' is a resource", id="resource in"),
        pytest.param("plain", of_no_dtype, "'y' is of a dtype that", id="dtype"),
        pytest.param("plain", without_outputs, "it has no outputs", id="no outputs"),
        pytest.param("plain", encoded, "'y' is encoded as composite_te", id="encoded"),
    ],
)
def test_unservable_default_stays_the_default(
    tmp_path: Path, default: str, change: Callable[[Any], None] | None, reason: str
) -> None:
    path = save(tmp_path / "m", serving_default=default, other="plain")
    if change is not None:
        edit(path, change, signature="serving_default")

    with opened(path) as source:
        assert source.default_signature == "serving_default"
        assert list(source.signatures) == ["other"]
        assert reason in source.left_out["serving_default"]
        assert any(reason in note for note in source.notes)


def test_unservable_output_is_left_out(tmp_path: Path) -> None:
    with opened(save(tmp_path / "m", serving_default="mixed")) as source:
        assert list(source.signatures["serving_default"].outputs) == ["y"]
        assert source.left_out == {}
        assert any("'items' is a variant" in note for note in source.notes)


def test_first_name_is_default_without_serving_default(
    tmp_path: Path,
) -> None:
    path = save(tmp_path / "m", aaa="variant", score="plain", embed="plain")

    with opened(path) as source:
        assert source.default_signature == "embed"
        assert list(source.left_out) == ["aaa"]


def test_sidecar_chooses_among_served_signatures(tmp_path: Path) -> None:
    path = save(tmp_path / "m", serving_default="variant", other="plain")

    with opened(path, default_signature="other") as source:
        assert source.default_signature == "other"

    with (
        pytest.raises(InvalidSidecar, match=r"serving_default', which can't .*variant"),
        opened(path, default_signature="serving_default"),
    ):
        pass


def test_sidecar_may_name_other_outputs_of_a_left_out_signature(tmp_path: Path) -> None:
    path = save(tmp_path / "m", serving_default="variant", other="plain")
    tensors = {"inputs": {"x": "other_x:0"}, "outputs": {"y": "other_x:0"}}

    with opened(path, signatures={"serving_default": tensors}) as source:
        assert source.default_signature == "serving_default"
        assert source.left_out == {}


def test_refusal_gives_reason_of_each_signature(tmp_path: Path) -> None:
    path = save(tmp_path / "m", serving_default="variant", other="resource")

    with (
        pytest.raises(
            InvalidModel, match=r"'other': 'handle' is a res.*'items' is a v"
        ),
        opened(path),
    ):
        pass


async def test_left_out_default_is_refused_by_request(
    refused: Artifact,
) -> None:
    with Held(refused) as servable:
        servable.gate.let_through()

        async with available(servable) as model:
            inputs = {UNNAMED: [1.0, 2.0]}
            answer = await ask(model, inputs=inputs, signature="b")

            with pytest.raises(UnknownSignature) as unnamed:
                await ask(model, inputs=inputs)

            with pytest.raises(UnknownSignature) as unknown:
                await ask(model, inputs=inputs, signature="c")

        status = model.status()

    assert answer.outputs["y"].tolist() == [2.0, 4.0]
    assert str(unnamed.value) == (
        "The signature 'serving_default' of model 'echo', its default, can't be "
        "served: 'items' is a variant, which isn't a value. Name another in the "
        "request; it has: a, b."
    )
    assert 'Serving signature name: "c" not found' in str(unknown.value)
    assert list(status.left_out) == [status.default_signature] == ["serving_default"]


def test_recorded_request_must_name_a_served_signature(
    refused: Artifact,
) -> None:
    def recorded(signature: str | None) -> list[RecordedRequest]:
        inputs = {UNNAMED: [1.0]}
        return [RecordedRequest(place="line 1", signature=signature, inputs=inputs)]

    with Servable(refused) as servable:
        replay(servable, recorded("a"))

        with pytest.raises(InvalidRequest, match=r"line 1: .*default' can't .*variant"):
            replay(servable, recorded(None))


def test_threads_are_tuned_with_a_served_signature(
    refused: Artifact,
) -> None:
    like = Tuning(concurrency=1, intra_op=2, reason="", measured={(1, 2): 1.0})

    assert tune(refused, cpus=2, like=like).measured == like.measured


def test_inspect_command_names_its_signature(
    refused: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Precompiled(
        id=ModelId("m", 1),
        path=Path("m"),
        folder=refused.folder,
        manifest=refused.read_manifest(),
    )

    print_inspection(Precompilation(models=[model], problems=[]), "http://h:9")

    shown = capsys.readouterr().out
    commands = [line for line in shown.splitlines() if "curl" in line]
    assert all("http://h:9/v1/models/m:predict" in line for line in commands)
    assert [
        f'"signature_name": "{name}"' in line
        for name, line in zip("ab", commands, strict=True)
    ] == [True, True]
    assert "'serving_default' is left out: 'items' is a variant" in shown
