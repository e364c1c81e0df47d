"""Other tools' folders: the model that is found, and the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.repository.scan import scan_repository
from tests.inference.repository.test_scan import found, lay, versions

if TYPE_CHECKING:
    from pathlib import Path

PB = "saved_model.pb"
MLFLOW = ("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt")
KERAS = (*MLFLOW, "data/keras_module.txt", "data/save_format.txt")
ZOO = (
    *("checkpoint", "frozen_inference_graph.pb", "model.ckpt.index", "pipeline.config"),
    *("model.ckpt.meta", "model.ckpt.data-00000-of-00001", f"saved_model/{PB}"),
)
ZOO_2 = ("checkpoint/ckpt-0.index", "pipeline.config", f"saved_model/{PB}")
TRANSFORMERS = ("config.json", "tf_model.h5", "vocab.txt", f"saved_model/1/{PB}")

# Files below a folder, and where in it the model lies.
MARKED = {
    "MLflow 3, Keras": ((*KERAS, "data/model.keras"), "data/model.keras"),
    "MLflow 2, HDF5": ((*KERAS, "data/model.h5"), "data/model.h5"),
    "MLflow 2, SavedModel": ((*KERAS, f"data/model/{PB}"), "data/model"),
    "MLflow 2, tf.Module": ((*MLFLOW, f"tf2model/{PB}"), "tf2model"),
    "MLflow 1, Estimator": (("MLmodel", "conda.yaml", f"tfmodel/{PB}"), "tfmodel"),
    "MLflow 0": (("MLmodel", "model.h5"), "model.h5"),
    "detection, TensorFlow 1": (ZOO, "saved_model"),
    "detection, TensorFlow 2": (ZOO_2, "saved_model"),
    "transformers": (TRANSFORMERS, "saved_model/1"),
}
UNMARKED = {
    "Triton, SavedModel": ((f"model.savedmodel/{PB}",), "model.savedmodel"),
    "Triton, frozen graph": (("model.graphdef",), "model.graphdef"),
    "Teachable Machine": ((f"model.savedmodel/{PB}", "labels.txt"), "model.savedmodel"),
    "a hub's": ((PB, "tfhub_module.pb", "variables/variables.index"), "."),
    "another server's": ((PB, "assets.extra/tf_serving_warmup_requests"), "."),
    "Keras' own beside": ((PB, "keras_metadata.pb", "fingerprint.pb"), "."),
    "another graph beside": ((PB, "frozen.pb", "model.tflite"), "."),
}
FOLDERS = {**MARKED, **UNMARKED}


def below(folder: str, paths: tuple[str, ...]) -> list[str]:
    return [f"{folder}/{path}" for path in paths]


@pytest.mark.parametrize(("paths", "place"), FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("folder", ["fraud", "fraud/3"])
def test_a_tools_folder_is_one_model(
    tmp_path: Path, folder: str, paths: tuple[str, ...], place: str
) -> None:
    root = lay(tmp_path / "models", "other.h5", *below(folder, paths))
    scan = scan_repository(root)
    version = 3 if folder == "fraud/3" else 1
    path = (root / folder / place).relative_to(root).as_posix()

    assert found(scan, root) == {f"fraud/{version}": path, "other/1": "other.h5"}
    assert scan.uncertain == set()


@pytest.mark.parametrize(("paths", "place"), MARKED.values(), ids=MARKED)
@pytest.mark.parametrize(("root", "model"), [("fraud", "fraud/1"), ("m/3", "m/3")])
def test_tools_folder_may_be_given_itself(
    tmp_path: Path, root: str, model: str, paths: tuple[str, ...], place: str
) -> None:
    folder = lay(tmp_path, *below(root, paths)) / root

    assert found(scan_repository(folder), folder) == {model: place}


@pytest.mark.parametrize(("paths", "place"), UNMARKED.values(), ids=UNMARKED)
def test_a_versions_folder_may_be_given_itself(
    tmp_path: Path, paths: tuple[str, ...], place: str
) -> None:
    folder = lay(tmp_path, *below("m/3", paths)) / "m/3"

    assert found(scan_repository(folder), folder) == {"m/3": place}


def test_a_repository_may_have_models_of_such_names(tmp_path: Path) -> None:
    """Without the tool's marks, each entry is a model."""
    names = (f"saved_model/{PB}", f"model.savedmodel/{PB}", "model.h5", "data/model.h5")
    scan = scan_repository(lay(tmp_path, *names))

    assert [entry.name for entry in scan.entries] == [
        "data",
        "model",
        "model.savedmodel",
        "saved_model",
    ]


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        pytest.param(
            ZOO,
            "m/2/frozen_inference_graph.pb: not served, as saved_model beside it is.",
            id="the detection zoo",
        ),
        pytest.param(
            TRANSFORMERS,
            "m/2/tf_model.h5: not served, as saved_model/1 beside it is.",
            id="transformers",
        ),
        pytest.param(
            (f"model.savedmodel/{PB}", "model.graphdef"),
            "m/2/model.graphdef: not served, as model.savedmodel beside it is.",
            id="Triton",
        ),
    ],
)
def test_unserved_second_form_is_reported(
    tmp_path: Path, paths: tuple[str, ...], problem: str
) -> None:
    scan = scan_repository(lay(tmp_path, "-", *below("m/2", paths)))

    assert [str(files.id) for files in versions(scan)] == ["m/2"]
    assert scan.problems == [problem]
    assert scan.uncertain == set()


@pytest.mark.parametrize("flavor", ["model.pkl", "data/model.pth", "model.onnx"])
def test_a_model_of_another_flavor_is_named(tmp_path: Path, flavor: str) -> None:
    scan = scan_repository(lay(tmp_path, "-", *below("m", (*MLFLOW, flavor))))

    assert scan.entries == []
    (problem,) = scan.problems
    assert "a folder of MLflow's without a model that is served" in problem
    assert "data/model.keras" in problem


def test_without_its_savedmodel_the_zoos_frozen_graph_is_the_model(
    tmp_path: Path,
) -> None:
    root = lay(tmp_path, "-", *(f"m/{path}" for path in ZOO[:-1]))

    assert found(scan_repository(root), root) == {"m/1": "m/frozen_inference_graph.pb"}


@pytest.mark.parametrize(
    ("paths", "link"),
    [
        pytest.param(("MLmodel", "data/"), "data/model.keras", id="the model"),
        pytest.param(("MLmodel",), "data", id="a folder above it"),
        pytest.param(("MLmodel", "data/model.h5"), "data/model.json", id="beside it"),
        pytest.param((f"model.savedmodel/{PB}",), "model.savedmodel/assets", id="in"),
        pytest.param((), "model.graphdef", id="a graph"),
    ],
)
def test_links_out_of_it_are_not_followed(
    tmp_path: Path, paths: tuple[str, ...], link: str
) -> None:
    outside = lay(tmp_path / "outside", "model.keras")
    root = lay(tmp_path / "root", "good.h5", "m/2/", *below("m/2", paths))
    (root / "m/2" / link).symlink_to(outside)
    scan = scan_repository(root)

    assert [str(files.id) for files in versions(scan)] == ["good/1"]
    (problem,) = scan.problems
    assert "is a link out of the repository" in problem


def test_the_sidecar_and_the_sums_lie_as_everywhere(tmp_path: Path) -> None:
    root = lay(tmp_path, "-", *below("m/3", (*MLFLOW, "data/model.keras")))
    lay(root, "m/model.toml", "m/3/SHA256SUMS", "m/3/warmup.jsonl")
    (files,) = versions(scan_repository(root))

    assert files.sidecar == root / "m/model.toml"
    assert files.sums == root / "m/3/SHA256SUMS"
    assert files.warmup == root / "m/3/warmup.jsonl"


@pytest.mark.parametrize(
    ("paths", "place"),
    [
        (("model.graphdef",), "model.graphdef"),
        (KERAS, "data/model.keras"),
        (("MLmodel",), "model.h5"),
    ],
)
def test_a_file_too_short_for_a_model_is_none(
    tmp_path: Path, paths: tuple[str, ...], place: str
) -> None:
    lay(tmp_path, *below("m/2", paths), f"m/2/./{place}", "m/1/model.h5", "bare.pb")
    (tmp_path / "m/2" / place).write_bytes(b"\x0a\x00")
    (tmp_path / "bare.pb").write_bytes(b"\x0a\x00")
    scan = scan_repository(tmp_path)
    name = place.rpartition("/")[2]

    # Whoever brings a bare file sees in its state what is wrong with it.
    assert [str(files.id) for files in versions(scan)] == ["bare/1", "m/1"]
    assert scan.uncertain == {"m"}
    assert scan.problems == [
        f"m/2: {name} has 2 bytes, fewer than any model. Copy or save it again."
    ]
