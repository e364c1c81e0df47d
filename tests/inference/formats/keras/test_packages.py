"""Layers of optional packages: named, allowed, installed or not."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from inference.errors import InvalidModel
from inference.formats.keras.gate import admit
from inference.formats.opening import open_source
from inference.permissions import Permissions
from inference.repository.sidecar import Sidecar
from tests.crafted.keras_parts import members, own, sequential, zip_file
from tests.support.keras3 import samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Keras' own, when it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't")

CODE = """
import keras


@keras.saving.register_keras_serializable("{home}")
class Scale(keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.scale
"""
PACKAGES = {"keras_hub": "keras-hub", "keras_cv": "keras-cv", "keras_nlp": "keras-nlp"}


@pytest.fixture(params=PACKAGES)
def home(request: Any, tmp_path: Path, monkeypatch: Any) -> Iterator[str]:
    """Install a package of that name, with a layer."""
    name: str = request.param
    (tmp_path / "site" / name).mkdir(parents=True)
    (tmp_path / "site" / name / "__init__.py").touch()
    (tmp_path / "site" / name / "layers.py").write_text(CODE.format(home=name))
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    yield name
    forget(name)


def forget(name: str) -> None:
    """Remove it from the imported modules."""
    keras.saving.get_custom_objects().pop(f"{name}>Scale", None)

    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[module]


def scaled(home: str, path: Path) -> tuple[Path, Any]:
    layer = importlib.import_module(f"{home}.layers").Scale(name="scale")
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.scale.assign([1.0, 2.0, 3.0, 4.0])
    model.save(path)
    return path, model


def test_refusal_names_package_and_option(tmp_path: Path, home: str) -> None:
    path, _ = scaled(home, tmp_path / "model.keras")

    with pytest.raises(InvalidModel) as refused:
        admit(path, Permissions())

    text = str(refused.value)
    assert f"layer 'scale' is of the class '{home}>Scale' of the package" in text
    assert f"(pip install {PACKAGES[home]})" in text
    assert f"start with --allow-classes '{home}>Scale', or export" in text


def test_refusal_names_all_classes(tmp_path: Path) -> None:
    others = [
        own(name, "keras_hub.src.layers.some", name=name.lower())
        | {"registered_name": f"keras_hub>{name}"}
        for name in ("Second", "First", "Known")
    ]
    path = zip_file(tmp_path / "model.keras", members(sequential(*others)))

    with pytest.raises(InvalidModel, match="es 'keras_hub>First,keras_hub>Second', or"):
        admit(path, Permissions(allow_classes=("keras_hub>Known",)))


def test_allowing_the_named_classes_is_enough(tmp_path: Path, home: str) -> None:
    path, model = scaled(home, tmp_path / "model.keras")
    forget(home)
    allowed = Permissions(allow_classes=(f"{home}>Scale",))

    with open_source(path, Sidecar(), allowed) as source:
        signature = source.signatures["serving_default"]
        (name,) = signature.inputs
        (found,) = source.reference(signature, {name: samples(model)}).values()

    np.testing.assert_allclose(found, samples(model) * [1, 2, 3, 4], rtol=1e-6)


def test_allowed_class_of_a_missing_package_is_refused(
    tmp_path: Path, home: str, monkeypatch: Any
) -> None:
    path, _ = scaled(home, tmp_path / "model.keras")
    forget(home)
    monkeypatch.setattr(sys, "path", sys.path[1:])
    importlib.invalidate_caches()
    allowed = Permissions(allow_classes=(f"{home}>Scale",))

    with (
        pytest.raises(InvalidModel, match=f"isn't installed .*{PACKAGES[home]}"),
        open_source(path, Sidecar(), allowed),
    ):
        pass
