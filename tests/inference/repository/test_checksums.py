"""`SHA256SUMS`: its required entries, matches and syntax."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from inference.errors import InvalidModel
from inference.repository.checksums import MAX_BYTES, verify
from inference.repository.digest import digest_source
from inference.repository.scan import ModelFiles
from inference.types import ModelId

if TYPE_CHECKING:
    from pathlib import Path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def line(path: Path, folder: Path) -> str:
    return f"{digest(path.read_bytes())}  {path.relative_to(folder)}\n"


def write_sums(folder: Path, *paths: Path) -> Path:
    sums = folder / "SHA256SUMS"
    sums.write_text("".join(line(path, folder) for path in paths))
    return sums


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    """A version's folder of a Keras file, its architecture, sidecar and requests."""
    folder = tmp_path / "flowers" / "3"
    folder.mkdir(parents=True)
    names = ("net.h5", "net.json", "net.toml", "warmup.jsonl")
    paths = [folder / name for name in names]

    for path in paths:
        path.write_text(f"content of {path.name}")

    return ModelFiles(
        id=ModelId("flowers", 3),
        path=paths[0],
        sidecar=paths[2],
        warmup=paths[3],
        sums=write_sums(folder, *paths),
    )


@pytest.fixture
def saved(tmp_path: Path) -> ModelFiles:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    paths = [folder / "saved_model.pb", folder / "variables" / "variables.index"]

    for path in paths:
        path.write_text(f"content of {path.name}")

    return ModelFiles(
        id=ModelId("saved", 1), path=folder, sums=write_sums(folder, *paths)
    )


def test_files_without_sums_are_unverified(files: ModelFiles) -> None:
    assert verify(replace(files, sums=None)) == "unverified"


def test_matching_files_are_verified(files: ModelFiles, saved: ModelFiles) -> None:
    assert verify(files) == "verified"
    assert verify(saved) == "verified"
    assert verify(saved, digest_source(saved.path).files) == "verified"


@pytest.mark.parametrize("name", ["net.h5", "net.json", "net.toml", "warmup.jsonl"])
def test_differing_file_is_refused(files: ModelFiles, name: str) -> None:
    path = files.path.with_name(name)
    wanted = digest(path.read_bytes())
    path.write_bytes(path.read_bytes() + b"!")
    found = digest(path.read_bytes())

    with pytest.raises(
        InvalidModel,
        match=f"^{name} isn't what SHA256SUMS says: its SHA-256 begins with "
        f"{found[:12]}, it should with {wanted[:12]}",
    ):
        verify(files)


@pytest.mark.parametrize("name", ["net.h5", "net.json", "net.toml", "warmup.jsonl"])
def test_unlisted_file_is_refused(files: ModelFiles, name: str) -> None:
    assert files.sums is not None
    lines = files.sums.read_text().splitlines(keepends=True)
    files.sums.write_text("".join(each for each in lines if name not in each))

    with pytest.raises(InvalidModel, match=f"^SHA256SUMS doesn't list {name}"):
        verify(files)


def test_known_digests_are_not_computed_again(files: ModelFiles) -> None:
    """The model was hashed for the cache already; it isn't read twice."""
    known = dict.fromkeys([files.path, files.path.with_suffix(".json")], "0" * 64)

    with pytest.raises(InvalidModel, match="begins with 000000000000, it should"):
        verify(files, known)


def test_changed_or_missing_folder_files_are_refused(saved: ModelFiles) -> None:
    index = saved.path / "variables" / "variables.index"
    content = index.read_bytes()
    index.write_bytes(b"other")

    with pytest.raises(InvalidModel, match=r"^variables/variables\.index isn't what"):
        verify(saved)

    index.unlink()

    with pytest.raises(InvalidModel, match=r"lists variables/variables\.index, which"):
        verify(saved)

    index.write_bytes(content)
    (saved.path / "assets").mkdir()
    (saved.path / "assets" / "more").touch()

    with pytest.raises(InvalidModel, match="doesn't list assets/more"):
        verify(saved)


def test_other_listed_files_are_checked(files: ModelFiles) -> None:
    readme = files.path.with_name("README.md")
    readme.write_text("hello")
    sums = files.sums
    assert sums is not None
    sums.write_text(sums.read_text() + line(readme, readme.parent))
    assert verify(files) == "verified"
    readme.write_text("bye")

    with pytest.raises(InvalidModel, match=r"^README\.md isn't what"):
        verify(files)

    readme.unlink()

    with pytest.raises(InvalidModel, match=r"lists README\.md, which isn't there"):
        verify(files)


def test_sums_above_may_list_other_models(files: ModelFiles) -> None:
    """Files above the sums can't be listed in them."""
    root = files.path.parents[2]
    versions = sorted(files.path.parent.glob("net.*"))
    sums = write_sums(root, *versions)
    assert files.warmup is not None
    above = root / "model.toml"
    above.touch()
    gone = f"{digest(b'')}  roses/1/model.h5\n{digest(b'')}  flowers/2/net.h5\n"
    sums.write_text(sums.read_text() + line(files.warmup, root) + gone)

    assert verify(replace(files, sums=sums)) == "verified"
    assert verify(replace(files, sidecar=above)) == "verified"

    with pytest.raises(InvalidModel, match=r"doesn't list model\.toml"):
        verify(replace(files, sums=sums, sidecar=above))


def test_bare_files_are_checked_separately(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        (tmp_path / name).write_text(name)

    sums = write_sums(tmp_path, tmp_path / "a.h5", tmp_path / "b.h5")
    files = ModelFiles(id=ModelId("a", 1), path=tmp_path / "a.h5", sums=sums)
    (tmp_path / "b.h5").unlink()
    assert verify(files) == "verified"

    sums.write_text(sums.read_text() + f"{digest(b'')}  a.json\n")

    with pytest.raises(InvalidModel, match=r"lists a\.json, which isn't there"):
        verify(files)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("m.h5", "{digest}  m.h5", id="no line break at the end"),
        pytest.param("m.h5", "{digest} *m.h5\n", id="binary"),
        pytest.param("m.h5", "{upper}  ./m.h5\r\n\r\n", id="by hand"),
        pytest.param(" m m.h5", "{digest}   m m.h5\n", id="blanks"),
        pytest.param("a\nb.h5", "\\{digest}  a\\nb.h5\n", id="line break"),
        pytest.param("a\rb.h5", "\\{digest}  a\\rb.h5\n", id="carriage return"),
        pytest.param("a\\nb.h5", "\\{digest}  a\\\\nb.h5\n", id="backslash"),
        pytest.param("a\x0bb\u2028.h5", "{digest}  a\x0bb\u2028.h5\n", id="others"),
        pytest.param("m.h5", "{digest}  m.h5\n{digest}  m.h5\n", id="twice"),
    ],
)
def test_valid_lines_are_parsed(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"model")
    value = digest(b"model")
    sums = tmp_path / "SHA256SUMS"
    sums.write_bytes(text.format(digest=value, upper=value.upper()).encode())

    files = ModelFiles(id=ModelId("m", 1), path=path, sums=sums)

    assert verify(files) == "verified"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{digest}  m.h5\nhello", "line 2: isn't a SHA-256", id="no sum"),
        pytest.param("{short}  m.h5", "line 1: isn't a SHA-256", id="MD5"),
        pytest.param("{digest}  ../m.h5", "line 1: '../m.h5' leads out", id="up"),
        pytest.param("{digest}  a/../../m", "'a/../../m' leads out", id="up within"),
        pytest.param("{digest}  /m.h5", "'/m.h5' leads out", id="absolute"),
        pytest.param("\\{digest}  a\\xb", r"escape .* doesn't write: \\x", id="escape"),
        pytest.param("\\{digest}  a\\", "escape", id="half an escape"),
        pytest.param(
            "{digest}  m.h5\n{other}  m.h5", "line 2: lists m.h5 again", id="two sums"
        ),
        pytest.param("", "doesn't list m.h5", id="empty"),
    ],
)
def test_invalid_lines_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.h5"
    path.write_bytes(b"model")
    sums = tmp_path / "SHA256SUMS"
    value = digest(b"model")
    sums.write_text(text.format(digest=value, short=value[:32], other="0" * 64))

    with pytest.raises(InvalidModel, match=f"SHA256SUMS.*{message}"):
        verify(ModelFiles(id=ModelId("m", 1), path=path, sums=sums))


def test_oversized_sums_are_refused(files: ModelFiles) -> None:
    assert files.sums is not None

    with files.sums.open("ab") as file:
        file.truncate(MAX_BYTES + 1)

    with pytest.raises(InvalidModel, match="SHA256SUMS is larger than"):
        verify(files)
