"""The gate in front of Keras, tested in a child where importing Keras fails."""

from __future__ import annotations

import base64
import json
import marshal
import re
import subprocess
import sys
from types import FunctionType
from typing import TYPE_CHECKING

import h5py
import pytest

from inference.errors import InvalidModel
from inference.formats.keras import screening
from inference.formats.keras.gate import admit
from inference.permissions import Permissions
from tests import PROJECT
from tests.crafted import hdf5, keras_configs, keras_lambdas, keras_zips
from tests.crafted.keras_parts import (
    function,
    h5_file,
    lambda_code,
    layer,
    members,
    own,
    sequential,
    weights_bytes,
    zip_file,
)

if TYPE_CHECKING:
    from pathlib import Path

MODULES = (hdf5, keras_lambdas, keras_configs, keras_zips)
CASES = [case for module in MODULES for case in module.CASES]

CHILD = """
import importlib, json, pathlib, sys

for name in ("keras", "tf_keras", "tensorflow"):
    sys.modules[name] = None  # importing it is an ImportError now

from inference.errors import InvalidModel
from inference.permissions import Permissions
from inference.formats.keras import screening
from inference.formats.keras.gate import admit

root, modules = pathlib.Path(sys.argv[1]), sys.argv[2:]
said = {}

for case in (case for name in modules for case in importlib.import_module(name).CASES):
    folder, canary = root / case.name, root / f"{case.name}.canary"
    folder.mkdir()
    path = case.make(folder, canary)

    try:
        admit(path, Permissions())
    except InvalidModel as error:
        said[case.name] = str(error)

    if canary.exists():
        said[case.name] = "the canary is dead"

print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the gate's error for each crafted file, without Keras and TensorFlow."""
    root = tmp_path_factory.mktemp("crafted")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, root, *(module.__name__ for module in MODULES)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    texts: dict[str, str] = json.loads(done.stdout)
    return texts


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_crafted_file_is_refused_without_keras(case, said) -> None:  # type: ignore[no-untyped-def]
    text = said.get(case.name, "it passed")

    assert re.search(case.reason, text), text
    assert text.startswith(("model.h5", "model.keras", "model.json", "The arch"))


def test_plain_reader_follows_external_links(tmp_path: Path) -> None:
    """The danger is real and silent: h5py follows the link."""
    path = hdf5.edited(hdf5.external_link)(tmp_path, tmp_path / "canary")

    with h5py.File(path) as file:
        assert file[hdf5.KERNEL][0, 0] == 42.0


def test_plain_reader_reads_external_storage(tmp_path: Path) -> None:
    path = hdf5.edited(hdf5.external_storage)(tmp_path, tmp_path / "canary")

    with h5py.File(path) as file:
        assert file[hdf5.KERNEL][0, 0] == 42.0


def test_code_in_a_lambda_can_run(tmp_path: Path) -> None:
    """The corpus' code would write to the canary if it were called."""
    code = marshal.loads(base64.b64decode(lambda_code(tmp_path / "canary")))
    FunctionType(code, {})(1)

    assert (tmp_path / "canary").read_text() == "gone"


HARMLESS = {
    "words": own("StringLookup", name="words", vocabulary=["/etc/passwd", "../b"]),
    "slash": layer("Dense", "block1/conv/dense", units=3),
    "tensorflow": layer("TFOpLambda", "tf.math.add", function="math.add"),
    "operation": own("Add", "keras.src.ops.numpy", name="add"),
    "old_module": own("Dense", "keras.src.layers.core.dense", name="d", units=3),
    "tf_keras": own("Dense", "tf_keras.src.layers.core.dense", name="d", units=3),
    "layer_as_activation": own(
        "Dense", name="d", units=3, activation=own("LeakyReLU", name="l")
    ),
    "function": own(
        "Dense", name="d", units=3, activation=function("builtins", "gelu")
    ),
    "wrapped": layer(
        "TimeDistributed", layer=layer("Bidirectional", layer=layer("GRU"))
    ),
    "seed": own("Dropout", rate=0.5, seed=own("SeedGenerator", "keras.random", seed=3)),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_layer_passes(tmp_path: Path, name: str) -> None:
    model = sequential(HARMLESS[name])

    admit(h5_file(tmp_path / "model.h5", model), Permissions())
    admit(zip_file(tmp_path / "model.keras", members(model)), Permissions())


def test_compile_config_is_not_screened(tmp_path: Path) -> None:
    """The loss is never looked up.

    A zip is loaded with `compile=False`, and a JSON beside weights without the loss.
    """
    loss = {"compile_config": {"loss": function("my_losses", "mine")}}
    model = sequential() | loss
    weights = tmp_path / "weights.h5"
    weights.write_bytes(weights_bytes())
    weights.with_suffix(".json").write_text(json.dumps(model))

    for path in (weights, zip_file(tmp_path / "model.keras", members(model))):
        assert "compile_config" not in admit(path, Permissions()).config


def test_class_of_another_keras_package_may_be_allowed(tmp_path: Path) -> None:
    module = "keras_hub.src.layers.modeling.rms_normalization"
    hub = own("RMSNorm", module, name="norm")
    named = hub | {"registered_name": "keras_hub>RMSNorm"}
    path = zip_file(tmp_path / "model.keras", members(sequential(named)))

    with pytest.raises(InvalidModel, match="'norm' is of the class 'keras_hub>"):
        admit(path, Permissions())

    for entry in (f"{module}>RMSNorm", "keras_hub>RMSNorm"):
        admit(path, Permissions(allow_classes=(entry,)))


@pytest.mark.parametrize("module", ["my_package.layers", None])
def test_allowed_class_that_cannot_be_loaded_is_refused(
    tmp_path: Path, module: str | None
) -> None:
    gate = own("Gate", name="gate") | {"module": module, "registered_name": "my>Gate"}
    path = zip_file(tmp_path / "model.keras", members(sequential(gate)))

    with pytest.raises(InvalidModel, match="'my>Gate', which is allowed, but its code"):
        admit(path, Permissions(allow_classes=("my>Gate",)))


@pytest.mark.parametrize("name", ["Lambda", "TFSMLayer", "TorchModuleWrapper"])
def test_code_is_never_allowed(tmp_path: Path, name: str) -> None:
    path = h5_file(tmp_path / "model.h5", sequential(own(name, name="evil")))
    entries = (name, f"keras.layers>{name}", f"None>{name}")

    with pytest.raises(InvalidModel, match=f"'evil' is a {name}: "):
        admit(path, Permissions(allow_classes=entries))


def test_an_operation_may_be_allowed(tmp_path: Path) -> None:
    node = {"name": "n", "op": "FancyOp"}
    op = layer("TensorFlowOpLayer", node_def=node)
    path = h5_file(tmp_path / "model.h5", sequential(op))

    with pytest.raises(InvalidModel, match="calls TensorFlow's 'FancyOp'"):
        admit(path, Permissions())

    admit(path, Permissions(allow_ops=("FancyOp",)))


def test_number_of_lists_and_dicts_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screening, "MAX_PLACES", 50)
    path = h5_file(tmp_path / "model.h5", sequential(layer("Dense", units=[[]] * 60)))

    with pytest.raises(InvalidModel, match="over 50 objects"):
        admit(path, Permissions())


def test_invalid_text_is_shown_printable(tmp_path: Path) -> None:
    """An error crosses a pipe and a log: half a character would break both."""
    path = h5_file(tmp_path / "model.h5", sequential(layer("Ev\ud800il\n", "x")))

    with pytest.raises(InvalidModel, match=r"custom class 'Ev\?il\?' of"):
        admit(path, Permissions())
