"""The contents that an HDF5 file may have; `tests/crafted` has those that it mayn't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from inference.errors import InvalidModel
from inference.formats.keras import hdf5
from inference.formats.keras.hdf5 import Stored, screen_hdf5

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def screened(
    tmp_path: Path, fill: Callable[[Any], None], memory_bytes: int | None = None
) -> Stored:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        fill(file)

    with h5py.File(tmp_path / "model.h5", "r") as file:
        return screen_hdf5(file, "model.h5", memory_bytes)


def plain(file: Any) -> None:
    """Write all types that Keras has ever written."""
    file.attrs["model_config"] = "{}"
    file.attrs["fixed"] = np.bytes_(b"text")
    file.attrs["layer_names"] = np.array(["a", "b"], h5py.string_dtype())
    file.attrs["weight_names"] = np.zeros(0)
    file.attrs["names"] = np.array([b"a", b"bb"])
    file.create_group("empty")
    file["kernel"] = np.ones((4, 3), "float32")
    file["half"] = np.ones(5, "float16")
    file["count"] = np.int64(7)
    file["flags"] = np.array([True, False])
    file["words"] = np.array([b"red", b"green"])
    file["bfloat16"] = np.zeros((2, 2), "V2")
    file["nothing"] = np.zeros((0, 8), "float32")
    file.create_dataset(
        "packed",
        data=np.arange(64.0),
        chunks=(8,),
        compression="gzip",
        shuffle=True,
        fletcher32=True,
    )


def test_keras_files_pass_and_are_counted(tmp_path: Path) -> None:
    stored = screened(tmp_path, plain)

    assert stored.values == 12 + 5 + 1 + 2 + 2 + 4 + 64
    assert stored.declared_bytes == 48 + 10 + 8 + 2 + 10 + 8 + 512


def test_shared_and_cyclic_hard_links_are_accepted(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        group = file.create_group("a")
        group["kernel"] = np.ones(3, "float32")
        group["again"] = group["kernel"]
        group["ring"] = file
        file["b"] = group

    assert screened(tmp_path, fill).values == 3


def test_sum_of_datasets_is_limited_by_the_budget(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        for name in ("a", "b", "c"):
            file[name] = np.ones(1000, "float32")

    assert screened(tmp_path, fill, 12_000).declared_bytes == 12_000

    with pytest.raises(InvalidModel, match="declares 12,000 bytes .* need 11,999"):
        screened(tmp_path, fill, 11_999)


def test_expansion_is_limited(tmp_path: Path) -> None:
    """One chunk of many is written: 4,000 of the declared bytes."""

    def partly(chunks: int) -> Callable[[Any], None]:
        def fill(file: Any) -> None:
            kernel = file.create_dataset("k", (1000 * chunks,), "f4", chunks=(1000,))
            kernel[:1000] = 1

        return fill

    assert screened(tmp_path, partly(1000)).declared_bytes == 4_000_000

    with pytest.raises(InvalidModel, match="declares 4,004,000 bytes but stores 4,000"):
        screened(tmp_path, partly(1001))


def test_number_of_objects_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "MAX_OBJECTS", 10)

    def groups(count: int) -> Callable[[Any], None]:
        def fill(file: Any) -> None:
            for number in range(count):
                file.create_group(f"g{number}/h")

        return fill

    screened(tmp_path, groups(4))

    with pytest.raises(InvalidModel, match="more than 10 objects"):
        screened(tmp_path, groups(5))


def test_non_boolean_enumeration_is_refused(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        kind = h5py.enum_dtype({"RED": 0, "GREEN": 1}, "i1")
        file.create_dataset("colours", data=[0, 1], dtype=kind)

    with pytest.raises(InvalidModel, match="object /colours holds values of type enum"):
        screened(tmp_path, fill)


@pytest.mark.parametrize("at", [600, 800, 1000, 1400, 2000])
def test_damaged_file_is_refused(tmp_path: Path, at: int) -> None:
    """It passes if only a number is damaged: checksums find those."""
    with h5py.File(tmp_path / "model.h5", "w") as file:
        plain(file)

    data = bytearray((tmp_path / "model.h5").read_bytes())
    data[at : at + 64] = b"\xff" * 64
    (tmp_path / "model.h5").write_bytes(data)

    try:
        with h5py.File(tmp_path / "model.h5", "r") as file:
            screen_hdf5(file, "model.h5", None)
    except (InvalidModel, OSError) as error:
        assert str(error)


def test_filter_plugins_are_not_loaded(tmp_path: Path) -> None:
    h5py.h5pl.append(str(tmp_path).encode())

    screened(tmp_path, plain)

    assert h5py.h5pl.size() == 0
