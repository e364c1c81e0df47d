"""Every kind of model file, compiled, against its own framework's outputs."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from inference.artifacts.artifact import signatures_of
from inference.artifacts.weights import file_lengths
from inference.inputs.binding import bind
from inference.runtime.servable import Servable
from tests.model_files import GOOD
from tests.support.arrays import assert_outputs

if TYPE_CHECKING:
    from inference.types import Array
    from tests.support.compiled_cases import CompiledCases

FORMATS = {
    "export": "SavedModel",
    "frozen": "frozen graph",
    "h5": "Keras .h5",
    "hdf5": "Keras .h5",
    "keras2": "Keras .h5",
    "saved": "SavedModel",
    "weights": "Keras .h5",
    "zip": "Keras .keras",
}
"""By the first word of a case's name."""

WRITERS = {
    "h5_sequential": f"Keras {version('keras')}",
    "zip_named_h5": f"Keras {version('keras')}",
    "weights_with_json": "Keras 3",
    "h5_keras2_sequential": "Keras 2.2.4",
    "h5_keras2_sequential_list": "Keras 2.1.6",
    "h5_keras2_conv": f"Keras {version('tf_keras')}",
    "saved_tf1_variables": f"TensorFlow {version('tensorflow')}",
    "frozen_conv_norm": "TensorFlow, graph version 0",
}
UNTRIED = {"frozen_strings"}
"""Its signature takes only bytes that no sample guesses."""

SIGNATURES = {
    "h5_sequential": ["serving_default"],
    "saved_half_plus_two": ["serving_default", "doubled"],
    "saved_sidecar": ["doubled", "serving_default"],
    "saved_other_default": ["score"],
    "saved_tf1_estimator": ["serving_default", "best", "predict", "regress"],
}
"""The default one first."""


@pytest.mark.parametrize("name", GOOD)
def test_outputs_match_the_framework(compiled: CompiledCases, name: str) -> None:
    case = compiled.case(name)

    with Servable(compiled.artifact(name)) as servable:
        for example in case.examples:
            signature = example.signature or servable.manifest.default_signature
            inputs = bind(servable.signatures[signature], example.inputs)
            outputs = servable.run(signature, inputs)
            assert_outputs(outputs, example.outputs, case.tolerance)


@pytest.mark.parametrize("name", ["h5_embedding_lstm", "zip_string_lookup"])
def test_stored_sample_is_accepted(compiled: CompiledCases, name: str) -> None:
    with Servable(compiled.artifact(name)) as servable:
        signature = servable.signatures["serving_default"]
        servable.warm_up()

    assert signature.sample is not None
    assert signature.sample.shapes.keys() == signature.inputs.keys()
    assert {shape[0] for shape in signature.sample.shapes.values()} == {1}


@pytest.mark.parametrize("name", GOOD)
def test_signature_has_optional_inputs(compiled: CompiledCases, name: str) -> None:
    manifest = compiled.artifact(name).read_manifest()
    signature = signatures_of(manifest)[manifest.default_signature]
    defaults = {
        name: spec.default.item()
        for name, spec in signature.inputs.items()
        if spec.default is not None
    }
    assert defaults == compiled.case(name).optional


@pytest.mark.parametrize("name", GOOD)
def test_manifest_tells_the_verification(compiled: CompiledCases, name: str) -> None:
    manifest = compiled.artifact(name).read_manifest()

    assert manifest.source_format == FORMATS[name.partition("_")[0]]
    assert manifest.source_writer == WRITERS.get(name, manifest.source_writer)
    assert manifest.compiled_with["tensorflow"] == version("tensorflow")
    assert manifest.compile_seconds > 0

    if name in UNTRIED:
        assert manifest.optimization == "none"
        assert any("accepted no sample inputs" in note for note in manifest.notes)
    else:
        assert manifest.optimization == "full"
        assert manifest.largest_difference is not None
        assert manifest.largest_difference <= compiled.case(name).tolerance


@pytest.mark.parametrize("name", GOOD)
def test_only_batchable_rows_are_joined(compiled: CompiledCases, name: str) -> None:
    manifest = compiled.artifact(name).read_manifest()
    entry = manifest.signatures[manifest.default_signature]
    wanted = compiled.case(name).batchable

    assert wanted in (None, entry.batchable), entry.batchable_reason
    assert entry.batchable_reason


@pytest.mark.parametrize("name", GOOD)
def test_artifact_is_self_contained(compiled: CompiledCases, name: str) -> None:
    artifact = compiled.artifact(name)

    found = (path for path in artifact.folder.rglob("*") if path.is_file())
    files = {path.relative_to(artifact.folder).as_posix() for path in found}
    manifest = artifact.read_manifest()
    named = file_lengths(manifest.weights)
    portable = ["portable.pb.gz"] if manifest.portable else []
    assert files == {"graph.pb", "manifest.json", "weights.bin", *named, *portable}
    assert str(compiled.root).encode() not in artifact.graph.read_bytes()


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(compiled: CompiledCases, name: str) -> None:
    manifest = compiled.artifact(name).read_manifest()

    assert manifest.default_signature == SIGNATURES[name][0]
    assert set(manifest.signatures) == set(SIGNATURES[name])


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("frozen_training_flag", {"is_training": np.array(True)}),
        ("frozen_keep_prob", {"keep_prob": np.array(0.5, "float32")}),
        ("frozen_keep_prob", {"dropout_rate": np.array(0.5, "float32")}),
        ("frozen_default_input", {"gain": np.array(7.0, "float32")}),
    ],
)
def test_optional_input_changes_the_output(
    compiled: CompiledCases, name: str, sent: dict[str, Array]
) -> None:
    example = compiled.case(name).examples[0]

    with Servable(compiled.artifact(name)) as servable:
        outputs = servable.run("serving_default", {**example.inputs, **sent})

    difference = np.abs(outputs["scores"] - example.outputs["scores"])
    assert difference.max() > 0.01


def test_fixed_placeholder_is_not_an_input(compiled: CompiledCases) -> None:
    manifest = compiled.artifact("frozen_sidecar").read_manifest()
    entry = manifest.signatures["serving_default"]

    assert list(entry.inputs) == ["image"]
    assert set(entry.outputs) == {"scores", "names"}


def test_dtypes_have_tensorflow_names(compiled: CompiledCases) -> None:
    manifest = compiled.artifact("saved_dtypes").read_manifest()
    inputs = manifest.signatures["serving_default"].inputs

    assert {f"a_{tensor.dtype}" for tensor in inputs.values()} == set(inputs)


def test_assumed_values_are_noted(compiled: CompiledCases) -> None:
    notes = compiled.artifact("frozen_keep_prob").read_manifest().notes

    assert any("keep_prob" in note and "1.0" in note for note in notes)


@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
def test_keras_2_file_is_read_by_keras_2(compiled: CompiledCases) -> None:
    """Keras 3 loads it silently with other outputs."""
    name = "h5_keras2_hard_sigmoid"
    case = compiled.case(name)
    example = case.examples[0]
    other = keras.saving.load_model(case.path, compile=False)
    theirs = other(example.inputs["signal"], training=False).numpy()

    with Servable(compiled.artifact(name)) as servable:
        ours = servable.run("serving_default", example.inputs)

    truth = example.outputs["level"]
    assert np.abs(theirs - truth).max() > 0.01
    assert np.abs(ours["level"] - truth).max() < 1e-5
