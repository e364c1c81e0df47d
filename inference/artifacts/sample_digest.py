"""Digest of the sample inputs beside a model, which its compilation depends on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from inference.inputs.recorded_requests import read_first
from inference.inputs.sample_file import sample_path
from inference.repository.digest import digest_file
from inference.repository.sidecar import sidecar_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from inference.repository.digest import SourceDigest
    from inference.repository.scan import ModelFiles
    from inference.repository.sidecar import Sidecar


def with_samples(
    source: SourceDigest, files: ModelFiles, sidecar: Sidecar, follow: Iterable[Path]
) -> SourceDigest:
    """Return `source` with a digest of its samples.

    They are the sidecar's file, and the first recorded requests. Blocks. Raises
    `InvalidSidecar` for a missing sample, `OSError`.
    """
    texts = [repr((each.signature, each.inputs)) for each in read_first(files.warmup)]
    sample = _sample(files, sidecar, follow)
    known = dict(source.files)

    if sample is not None:
        known[sample] = digest_file(sample)
        texts.append(known[sample])

    if not texts:
        return source

    samples = hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass"))
    return replace(source, files=known, samples=samples.hexdigest())


def _sample(files: ModelFiles, sidecar: Sidecar, follow: Iterable[Path]) -> Path | None:
    if files.sidecar is None or sidecar.sample is None:
        return None

    with sidecar_errors(files.sidecar):
        return sample_path(files.sidecar, sidecar.sample, follow)
