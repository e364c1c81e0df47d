"""Names that tf.keras of TensorFlow 2 wrote and tf_keras no longer knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tf_keras import layers as L

from tests.support.keras_files import answers, filled, loaded, rows, saved_as, stack

if TYPE_CHECKING:
    from pathlib import Path

Config = dict[str, Any]

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation", "softmax_v2"),
        ("dtype", {"class_name": "Policy", "config": {"name": "float32"}}),
        (
            "dtype",
            {
                "class_name": "Policy",
                "config": {
                    "name": "float32",
                    "loss_scale": {
                        "class_name": "DynamicLossScale",
                        "config": {"initial_loss_scale": 32768.0},
                    },
                },
            },
        ),
        ("dtype", {"class_name": "PolicyV1", "config": {"name": "float32"}}),
    ],
)
def test_old_names_keep_their_meaning(tmp_path: Path, key: str, value: Any) -> None:
    model = filled(stack((4,), L.Dense(3, activation="softmax")))

    def edit(config: Config) -> None:
        config["config"]["layers"][1]["config"][key] = value

    path = saved_as(tmp_path / "model.h5", model, version="2.3.0-tf", config=edit)
    inputs = rows(model)

    np.testing.assert_allclose(
        answers(loaded(path), inputs), answers(model, inputs), rtol=1e-5
    )
