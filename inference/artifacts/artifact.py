"""The compiled form of a model on disk: a graph, its weights and a manifest.

`graph.pb` is a GraphDef without its large constants: they are variables, assigned from
mapped files after loading. `weights/` has a file for each large value, named by its
SHA-256, which artifacts share by hard links; the others lie in `weights.bin`, each at
the start of a page. Equal values are stored once.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference.artifacts.json_arrays import from_json, to_json
from inference.artifacts.machine import UNKNOWN, Machine, PortableGraph
from inference.artifacts.sealed import WrongContent
from inference.artifacts.weights import (
    LARGE,
    PACKED,
    Weight,
    file_lengths,
    map_weights,
)
from inference.types import Part, Sample, Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inference.types import Array

FORMAT = 7
_NO_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
INIT = "tandem/init"
"""The operation that initializes the graph's variables and tables."""


class _Value(BaseModel):
    # Infinities are kept: an optimized graph may differ from its source by one.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class PartEntry(_Value):
    """A `Part` in JSON."""

    of: str
    kind: str
    role: str
    shape: tuple[int | None, ...] | None


class TensorEntry(_Value):
    """A `TensorSpec` in JSON.

    `default` is its shape and its bytes in base64; strings are latin-1.
    """

    tensor: str
    dtype: str
    shape: tuple[int | None, ...] | None
    # Not numbers: JSON has no infinities, complex numbers or small floats.
    default: Any = None
    part: PartEntry | None = None
    on_request: bool = False


class SampleEntry(_Value):
    """A `Sample` in JSON; `texts` as latin-1."""

    shapes: dict[str, tuple[int, ...]]
    texts: dict[str, str] = Field(default_factory=dict)
    fills: dict[str, float] = Field(default_factory=dict)


class SignatureEntry(_Value):
    inputs: dict[str, TensorEntry]
    outputs: dict[str, TensorEntry]
    batchable: bool
    batchable_reason: str
    sample: SampleEntry | None
    alone: tuple[str, ...] = ()
    seed: str | None = None
    repeatable: bool = False
    method: str = "predict"


class Manifest(_Value):
    """The artifact's content, origin and verification.

    `model` is the version that it was compiled for, such as "ranking/4".

    `left_out` are signatures of the source that can't be served, with the reason: the
    default one may be among them. `largest_difference` is between the source's outputs
    and the artifact's, over all samples that the source took, in the outputs' own unit;
    `None` if it took none. `layers` are the inner outputs that the sidecar may name,
    with their shapes. `memory_bytes` is the compiler's memory for loading and running
    it, `weights_bytes` the length of the files that hold `weights`.

    `machine` is where it was verified; each sample ran there, if it `warms_up`. A
    `native` graph has operations that TensorFlow fused for that machine, and may not
    run elsewhere.
    """

    format_version: int
    model: str = ""
    source: str = ""
    source_format: str
    source_writer: str
    source_bytes: int = 0
    source_sha256: str = ""
    compiled_with: dict[str, str] = Field(default_factory=dict)
    default_signature: str
    signatures: dict[str, SignatureEntry]
    left_out: dict[str, str] = Field(default_factory=dict)
    optimization: str
    largest_difference: float | None = None
    control_flow: bool
    notes: tuple[str, ...]
    weights: tuple[Weight, ...]
    graph_bytes: int
    graph_sha256: str
    weights_bytes: int
    machine: Machine = UNKNOWN
    native: bool = False
    warms_up: bool = False
    portable: PortableGraph | None = None
    layers: dict[str, tuple[int | None, ...] | None] = Field(default_factory=dict)
    memory_bytes: int = 0
    compile_seconds: float = 0.0


class ManifestFile(_Value):
    """A manifest as it is stored, with the SHA-256 of its own JSON."""

    sha256: str
    manifest: Manifest

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        return cls(sha256=_digest(manifest), manifest=manifest)

    @property
    def intact(self) -> bool:
        return self.sha256 == _digest(self.manifest)


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()


class DamagedArtifact(Exception):
    """The folder isn't a complete artifact of this format, and must be replaced."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact's folder.

    `portable` chooses the form of the graph; with `None`, the machine does.
    """

    folder: Path
    portable: bool | None = None

    @property
    def graph(self) -> Path:
        return self.folder / "graph.pb"

    @property
    def portable_graph(self) -> Path:
        return self.folder / "portable.pb.gz"

    @property
    def weights(self) -> Path:
        return self.folder / PACKED

    @property
    def large_weights(self) -> Path:
        """The folder of values that have a file each."""
        return self.folder / LARGE

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    def read_manifest(self) -> Manifest:
        """Read the manifest and check the files' lengths.

        Raises `DamagedArtifact`, and `OSError` where the files can't be read now.
        """
        try:
            stored = ManifestFile.model_validate_json(self.manifest.read_bytes())

            if not stored.intact:
                raise DamagedArtifact(f"{self.manifest} isn't what was written")

            manifest = stored.manifest
            found = {path: path.stat().st_size for path in self._lengths(manifest)}
        except (*_NO_FILE, ValidationError) as exc:
            raise DamagedArtifact(f"{self.folder}: {exc}") from exc

        if manifest.format_version != FORMAT:
            raise DamagedArtifact(f"{self.folder}: format {manifest.format_version}")

        if found != self._lengths(manifest):
            raise DamagedArtifact(f"{self.folder}: a file isn't as long as it was")

        return manifest

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest with its digest."""
        stored = ManifestFile.of(manifest)
        self.manifest.write_text(stored.model_dump_json(indent=2))

    def discard(self) -> None:
        """Remove it, so that it is compiled again."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def read_graph(self, manifest: Manifest, *, portable: bool = False) -> bytes:
        """Return the serialized GraphDef. Raises `DamagedArtifact` if it changed."""
        path, wanted = self.graph, manifest.graph_sha256

        if portable and manifest.portable is not None:
            path, wanted = self.portable_graph, manifest.portable.sha256

        try:
            content = path.read_bytes()
        except _NO_FILE as exc:
            raise DamagedArtifact(f"{path} is gone") from exc

        if hashlib.sha256(content).hexdigest() != wanted:
            raise DamagedArtifact(f"{path} isn't what was written")

        return content if path == self.graph else gzip.decompress(content)

    def map_weights(self, manifest: Manifest) -> dict[str, Array]:
        """Return each weight by its feed, mapped copy-on-write.

        Raises `DamagedArtifact` if one changed.
        """
        try:
            return map_weights(self.folder, manifest.weights)
        except (*_NO_FILE, WrongContent) as exc:
            raise DamagedArtifact(str(exc)) from exc

    def _lengths(self, manifest: Manifest) -> dict[Path, int]:
        """Return the length of each file as it was written."""
        lengths = {
            self.folder / name: nbytes
            for name, nbytes in file_lengths(manifest.weights).items()
        }
        graphs = {self.graph: manifest.graph_bytes}

        if manifest.portable is not None:
            graphs[self.portable_graph] = manifest.portable.nbytes

        return {**graphs, self.weights: 0, **lengths}


def signatures_of(manifest: Manifest) -> dict[str, Signature]:
    """Return the manifest's signatures as values."""
    return {
        name: Signature(
            name=name,
            inputs=_specs(entry.inputs),
            outputs=_specs(entry.outputs),
            batchable=entry.batchable,
            batchable_reason=entry.batchable_reason,
            sample=_sample(entry.sample),
            alone=entry.alone,
            seed=entry.seed,
            repeatable=entry.repeatable,
            method=entry.method,
        )
        for name, entry in manifest.signatures.items()
    }


def signature_entry(signature: Signature) -> SignatureEntry:
    """Return a signature's entry: the inverse of `signatures_of`."""
    return SignatureEntry(
        inputs=_tensors(signature.inputs),
        outputs=_tensors(signature.outputs),
        batchable=signature.batchable,
        batchable_reason=signature.batchable_reason,
        sample=_sample_entry(signature.sample),
        alone=signature.alone,
        seed=signature.seed,
        repeatable=signature.repeatable,
        method=signature.method,
    )


def _sample(entry: SampleEntry | None) -> Sample | None:
    if entry is None:
        return None

    texts = {name: text.encode("latin-1") for name, text in entry.texts.items()}
    return Sample(shapes=entry.shapes, texts=texts, fills=entry.fills)


def _sample_entry(sample: Sample | None) -> SampleEntry | None:
    if sample is None:
        return None

    texts = {name: text.decode("latin-1") for name, text in sample.texts.items()}
    return SampleEntry(
        shapes=dict(sample.shapes), texts=texts, fills=dict(sample.fills)
    )


def _tensors(specs: Mapping[str, TensorSpec]) -> dict[str, TensorEntry]:
    return {
        name: TensorEntry(
            tensor=spec.tensor,
            dtype=spec.dtype,
            shape=spec.shape,
            default=to_json(spec.default),
            part=None if spec.part is None else PartEntry(**asdict(spec.part)),
            on_request=spec.on_request,
        )
        for name, spec in specs.items()
    }


def _specs(tensors: Mapping[str, TensorEntry]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(
            name=name,
            tensor=tensor.tensor,
            dtype=tensor.dtype,
            shape=tensor.shape,
            default=from_json(tensor.default, tensor.dtype),
            part=None if tensor.part is None else Part(**tensor.part.model_dump()),
            on_request=tensor.on_request,
        )
        for name, tensor in tensors.items()
    }
