"""Keras models whose pictures have open sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import pytest
from keras import layers

from inference.errors import InvalidModel
from tests.support.graphs import compile_path

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_layer_that_needs_the_sizes_is_refused_with_a_cure(
    tmp_path: Path, interpolation: str
) -> None:
    scaled = layers.UpSampling2D(2, interpolation=interpolation)
    keras.Sequential([keras.Input((None, None, 3)), scaled]).save(tmp_path / "m.keras")

    with pytest.raises(InvalidModel, match=r"leaves open\. Build the model with fixed"):
        compile_path(tmp_path / "m.keras", tmp_path / "artifact")


def test_a_layer_that_needs_none_is_served(tmp_path: Path) -> None:
    scaled = layers.UpSampling2D(2)
    keras.Sequential([keras.Input((None, None, 3)), scaled]).save(tmp_path / "m.keras")

    artifact = compile_path(tmp_path / "m.keras", tmp_path / "artifact")

    assert artifact.read_manifest().optimization == "full"
