"""HDF5 files that read elsewhere, declare more than they hold, or load code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from tests.crafted.case import Crafted
from tests.crafted.keras_parts import h5_file, own, sequential

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KERNEL = "model_weights/dense/kernel"
GIBIBYTE = 2**30


def secret(folder: Path) -> Path:
    """Write another file, whose numbers must not become weights."""
    path = folder / "secret.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.full((4, 3), 42.0, "float32")

    return path


def edited(edit: Callable[[Any, Path], None]) -> Callable[[Path, Path], Path]:
    """Return a maker of a Dense model without its kernel, changed by `edit`."""

    def make(folder: Path, canary: Path) -> Path:
        def change(file: Any) -> None:
            del file[KERNEL]
            edit(file, folder)

        model = sequential(own("Dense", name="dense", units=3))
        return h5_file(folder / "model.h5", model, edit=change)

    return make


def soft_link(file: Any, folder: Path) -> None:
    file[KERNEL] = h5py.SoftLink("/elsewhere")


def external_link(file: Any, folder: Path) -> None:
    file[KERNEL] = h5py.ExternalLink(str(secret(folder)), "/kernel")


def external_group(file: Any, folder: Path) -> None:
    del file["model_weights"]
    file["model_weights"] = h5py.ExternalLink(str(secret(folder)), "/")


def external_storage(file: Any, folder: Path) -> None:
    raw = folder / "secret.bin"
    raw.write_bytes(np.full((4, 3), 42.0, "float32").tobytes())
    file.create_dataset(KERNEL, (4, 3), "f4", external=[(str(raw), 0, 48)])


def virtual_dataset(file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout(shape=(4, 3), dtype="f4")
    layout[:] = h5py.VirtualSource(str(secret(folder)), "kernel", shape=(4, 3))
    file.create_virtual_dataset(KERNEL, layout)


def foreign_filter(file: Any, folder: Path) -> None:
    """Use LZF, which isn't part of HDF5: others are looked for in shared libraries."""
    file.create_dataset(KERNEL, data=np.ones((4, 3), "f4"), compression="lzf")


def plugin_filter(file: Any, folder: Path) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4, 3))
    properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((4, 3))
    parent = file["model_weights/dense"].id
    h5py.h5d.create(parent, b"kernel", h5py.h5t.IEEE_F32LE, space, properties)


def three_gibibytes(file: Any, folder: Path) -> None:
    """Stay below the 4 GiB from which Keras checks."""
    file.create_dataset(KERNEL, (3 * GIBIBYTE // 4,), "f4")


def twelve_tebibytes(file: Any, folder: Path) -> None:
    file.create_dataset(KERNEL, (2**20, 3 * 2**20), "f4", chunks=(1024, 1024))


def four_kibibytes(file: Any, folder: Path) -> None:
    file.create_dataset(KERNEL, (1024,), "f4", chunks=(1024,))


def zeros_packed(file: Any, folder: Path) -> None:
    zeros = np.zeros(8 * 2**20, "f4")
    file.create_dataset(
        KERNEL, data=zeros, chunks=(2**20,), compression="gzip", compression_opts=9
    )


def large_chunk(file: Any, folder: Path) -> None:
    """Store ten values, of which reading one takes a gibibyte."""
    file.create_dataset(KERNEL, (10,), "f4", maxshape=(None,), chunks=(2**28,))


def references(file: Any, folder: Path) -> None:
    kernel = file.create_dataset(KERNEL, (1,), h5py.ref_dtype)
    kernel[0] = file.ref


def compound(file: Any, folder: Path) -> None:
    file[KERNEL] = np.zeros(3, [("a", "f4"), ("b", "i4")])


def pickle_in_opaque(file: Any, folder: Path) -> None:
    file[KERNEL] = np.void(b"cos\nsystem\n(S'true'\ntR.")


def variable_strings(file: Any, folder: Path) -> None:
    file.create_dataset(KERNEL, data=["a", "b"], dtype=h5py.string_dtype())


def reference_in_attribute(file: Any, folder: Path) -> None:
    file["model_weights"].attrs["weights"] = file.ref


def named_type(file: Any, folder: Path) -> None:
    file["model_weights/dense/kind"] = np.dtype("f4")


def deep_groups(file: Any, folder: Path) -> None:
    file.create_group("model_weights/" + "/".join("g" * 40))


def large_attribute(folder: Path, canary: Path) -> Path:
    path = h5_file(folder / "model.h5", sequential())
    with h5py.File(folder / "large.h5", "w", libver="latest") as file:
        file.attrs["model_config"] = "{}"
        file.attrs["filler"] = np.zeros(17 * 2**20, "u1")

    return (folder / "large.h5").replace(path)


def cut(folder: Path, canary: Path) -> Path:
    path = h5_file(folder / "model.h5", sequential())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


EDITS: dict[Callable[[Any, Path], None], str] = {
    soft_link: "kernel is a soft link",
    external_link: "kernel is an external link",
    external_group: "/model_weights is an external link",
    external_storage: "external storage",
    virtual_dataset: "virtual dataset",
    foreign_filter: "filter 32000",
    plugin_filter: "filter 32015",
    three_gibibytes: "declares 3,221,225,472 bytes but stores 0",
    twelve_tebibytes: "declares 13,194,139,533,312 bytes but stores 0",
    four_kibibytes: "declares 4,096 bytes but stores 0",
    zeros_packed: "declares 33,554,432 bytes but stores",
    large_chunk: "declares 1,073,741,824 bytes but stores 0",
    references: "values of type reference",
    compound: "values of type compound",
    pickle_in_opaque: "values of type opaque",
    variable_strings: "values of type variable string",
    reference_in_attribute: "attribute weights holds values of type reference",
    named_type: "/kind isn't a group or a dataset",
    deep_groups: "nested deeper than 32",
}

CASES = [
    *(
        Crafted(name=f"h5_{edit.__name__}", make=edited(edit), reason=reason)
        for edit, reason in EDITS.items()
    ),
    Crafted(
        name="h5_large_attribute",
        make=large_attribute,
        reason="attributes are larger than 16,777,216 bytes",
    ),
    Crafted(name="h5_half", make=cut, reason="damaged or truncated"),
]
