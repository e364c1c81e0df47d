"""A hash over the inputs beside a model that it is tried on when it is compiled."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from inference.inputs.recorded_requests import read_first
from inference.inputs.sample_file import sample_path
from inference.repository.digest import digest_file
from inference.repository.sidecar import read_sidecar, sidecar_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from inference.repository.digest import SourceDigest
    from inference.repository.scan import ModelFiles


def with_samples(
    source: SourceDigest, files: ModelFiles, follow: Iterable[Path]
) -> SourceDigest:
    """`source` with its samples: the sidecar's file, and the first recorded requests.

    Blocks. Raises `InvalidSidecar` for a sample that isn't there, `OSError`.
    """
    said = [repr((each.signature, each.inputs)) for each in read_first(files.warmup)]
    sample = _sample(files, follow)
    known = dict(source.files)

    if sample is not None:
        known[sample] = digest_file(sample)
        said.append(known[sample])

    if not said:
        return source

    samples = hashlib.sha256("\n".join(said).encode("utf-8", "surrogatepass"))
    return replace(source, files=known, samples=samples.hexdigest())


def _sample(files: ModelFiles, follow: Iterable[Path]) -> Path | None:
    name = read_sidecar(files.sidecar).sample

    if files.sidecar is None or name is None:
        return None

    with sidecar_errors(files.sidecar):
        return sample_path(files.sidecar, name, follow)
