"""Padding that Theano did in other places than TensorFlow does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tf_keras import layers

from inference.permissions import Permissions
from inference.sources.keras_gate import admit
from tests.inference.keras_files import saved_as, stack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")


@pytest.mark.parametrize(("backend", "warned"), [("theano", True), ("cntk", False)])
def test_padding_that_theano_did_elsewhere_is_said(
    tmp_path: Path, backend: str, *, warned: bool
) -> None:
    model = stack((6, 6, 2), layers.Conv2D(3, 2, padding="same"))
    path = saved_as(tmp_path / "model.h5", model, backend=backend)
    notes = admit(path, Permissions()).notes

    assert any("pads as 'same'" in note for note in notes) == warned
