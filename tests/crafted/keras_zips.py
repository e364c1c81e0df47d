"""`.keras` zips that write elsewhere, unpack without end, or hold more than a model."""

from __future__ import annotations

import stat
import zipfile
from typing import TYPE_CHECKING, Any

import h5py

from tests.crafted.case import Crafted
from tests.crafted.keras_parts import (
    members,
    own,
    sequential,
    weights_bytes,
    zip_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ZEROS = bytes(32 * 2**20)


def good() -> dict[str, bytes]:
    return members(sequential(own("Dense", name="dense", units=3)))


def with_members(**how: Any) -> Callable[[Path, Path], Path]:
    return lambda folder, canary: zip_file(
        folder / "model.keras", good() | how.get("more", {})
    )


def with_entry(entry: zipfile.ZipInfo, data: bytes) -> Callable[[Path, Path], Path]:
    def make(folder: Path, canary: Path) -> Path:
        path = zip_file(folder / "model.keras", good())
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(entry, data)

        return path

    return make


def named(name: str, **how: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("x")
    entry.filename = entry.orig_filename = name
    for key, value in how.items():
        setattr(entry, key, value)

    return entry


def packed(name: str) -> zipfile.ZipInfo:
    return named(name, compress_type=zipfile.ZIP_DEFLATED)


def weights(edit: Callable[[Any], None]) -> Callable[[Path, Path], Path]:
    return lambda folder, canary: zip_file(
        folder / "model.keras", good() | {"model.weights.h5": weights_bytes(edit)}
    )


def outward(file: Any) -> None:
    file["layers/dense/vars/1"] = h5py.ExternalLink("/etc/hostname", "/")


def bomb(file: Any) -> None:
    file.create_dataset("layers/dense/vars/1", (2**28,), "f4")


def twice(folder: Path, canary: Path) -> Path:
    """Store a member twice: Keras reads the last, others the first."""
    path = zip_file(folder / "model.keras", good() | {"config.jso_": b"{}"})
    path.write_bytes(path.read_bytes().replace(b"config.jso_", b"config.json"))
    return path


def encrypted(folder: Path, canary: Path) -> Path:
    """Flag a member as encrypted in the table of contents."""
    path = zip_file(folder / "model.keras", good())
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def shared_bytes(folder: Path, canary: Path) -> Path:
    """Let two members share one place of the file."""
    more = {"assets/a": bytes(1000), "assets/b": bytes(1000)}
    path = zip_file(folder / "model.keras", good() | more)
    data = bytearray(path.read_bytes())
    table = data.index(b"PK\x01\x02")
    first = data.index(b"assets/a", table) - 46
    second = data.index(b"assets/b", table) - 46
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path.write_bytes(data)
    return path


def flipped(folder: Path, canary: Path) -> Path:
    path = zip_file(folder / "model.keras", good())
    data = bytearray(path.read_bytes())
    data[data.index(b"\x89HDF") + 3000] ^= 1
    path.write_bytes(data)
    return path


def linked() -> zipfile.ZipInfo:
    return named("assets/a", external_attr=(stat.S_IFLNK | 0o777) << 16)


def zip_case(name: str, reason: str, make: Callable[[Path, Path], Path]) -> Crafted:
    return Crafted(name=f"zip_{name}", make=make, reason=reason)


def more(name: str, data: bytes = b"x") -> Callable[[Path, Path], Path]:
    return with_members(more={name: data})


CASES = [
    zip_case("parent", "'..' or '.' as a part", more("assets/../../canary")),
    zip_case("absolute", "absolute path", more("/tmp/canary")),
    zip_case("backslash", "backslash", more("assets\\..\\canary")),
    zip_case("drive", "absolute path", more("C:/canary")),
    zip_case("nul", "unprintable", with_entry(named("assets/a\x00.txt"), b"x")),
    zip_case("same_name", "'config.json' more than once", twice),
    zip_case(
        "same_name_in_capitals",
        "'assets/a' more than once",
        with_members(more={"assets/a": b"x", "assets/A": b"y"}),
    ),
    zip_case("symlink", "link or a device", with_entry(linked(), b"/etc/hostname")),
    zip_case("encrypted", "is encrypted", encrypted),
    zip_case(
        "asset_bomb",
        "unpacks to 33,554,432 bytes",
        with_entry(packed("assets/a"), ZEROS),
    ),
    zip_case("shared_bytes", "members share their bytes", shared_bytes),
    zip_case("pickle", "'model.pkl' doesn't belong", more("model.pkl")),
    zip_case("npz", "'model.weights.npz' doesn't belong", more("model.weights.npz")),
    zip_case(
        "lzma",
        "compressed by method 14",
        with_entry(named("assets/a", compress_type=zipfile.ZIP_LZMA), b"x"),
    ),
    zip_case(
        "external_link", "weights.h5, object .*/1 is an external", weights(outward)
    ),
    zip_case("shape_bomb", "declares 1,073,741,824 bytes but stores 0", weights(bomb)),
    zip_case("flipped_bit", "damaged: Bad CRC-32", flipped),
    zip_case(
        "long_config",
        "larger than 16,777,216",
        more("config.json", b" " * 2**24 + b"1"),
    ),
]
