"""Build the image and hold it to what it promises: `python -m deploy.image.check`.

Needs Podman; prints a line for each promise, and ends with 1 at the first that is
broken.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tarfile
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from demo.make_models import make_models
from deploy.image.base import made_base
from deploy.image.clients import Load, examples, predict, seconds_until_ready
from deploy.image.manifests import CLAIM, kustomized, playable
from deploy.image.podman import Failed, Podman
from tests import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.image.podman import Container

IMAGE = "localhost/tandem:check"
MOST_ADDED = 1_100_000_000
USER = 10001
FEWER_FILES = "fewer connections than --max-connections"
ANSWERS = 2000
"""Before the signal comes."""


def main() -> int:
    # Each line when it is known, also into a pipe.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    arguments = parse()
    podman = Podman(nested=arguments.nested)

    try:
        check_all(podman, arguments)
    except Failed as exc:
        print(f"FAILED: {exc}", file=sys.stderr)
        return 1

    return 0


def check_all(podman: Podman, arguments: argparse.Namespace) -> None:
    base = made_base(podman) if arguments.base_from_debootstrap else arguments.base
    image = arguments.image or built(podman, base)
    check_size(podman, image, base or default_base())

    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch, "models")
        make_models(models)
        # The container's user is another.
        Path(scratch).chmod(0o755)
        check_server(podman, image, models)
        check_deployment(podman, image, models)


def built(podman: Podman, base: str | None) -> str:
    started = time.monotonic()
    podman.build(PROJECT, IMAGE, base)
    print(f"built in {time.monotonic() - started:.0f} s")
    return IMAGE


def check_size(podman: Podman, image: str, base: str) -> None:
    """Weigh what lies on the base's layers."""
    whole, below = podman.size(image), podman.size(base)
    added = whole - below
    print(f"adds {added / 1e9:.2f} GB to its base of {below / 1e9:.2f} GB")
    expect(added <= MOST_ADDED, f"it may add {MOST_ADDED / 1e9} GB at most")


def check_server(podman: Podman, image: str, models: Path) -> None:
    """Start it with as few rights as Kubernetes gives it; stop it under load."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    with podman.container(image, port, models) as container, logged(container):
        print(f"ready after {seconds_until_ready(url):.1f} s, models compiled")
        check_rights(container)
        bodies = check_answers(url, sorted(path.name for path in models.iterdir()))
        check_stop(container, url, bodies)


def check_rights(container: Container) -> None:
    """Ask the server's process what it may."""
    status = dict(
        line.split(":", 1)
        for line in container.asked("cat", "/proc/1/status").splitlines()
    )
    rights = {name: status[name].split() for name in ("Uid", "CapEff", "NoNewPrivs")}
    expect(rights["Uid"] == [str(USER)] * 4, f"runs as {rights['Uid']}")
    expect(int(rights["CapEff"][0], 16) == 0, f"has rights: {rights['CapEff']}")
    expect(rights["NoNewPrivs"] == ["1"], "its processes may get rights")

    try:
        container.asked("touch", "/written")
    except Failed as exc:
        expect("Read-only" in str(exc), f"the root isn't read-only: {exc}")
    else:
        raise Failed("the root isn't read-only")

    print(f"runs as user {USER}, without a capability, on a read-only root")


def check_answers(url: str, names: list[str]) -> dict[str, object]:
    """Ask each model for a prediction; return the bodies, by path."""
    bodies = examples(url)
    served = {path.split("/")[3].partition(":")[0] for path in bodies}
    wanted = {Path(name).stem for name in names}
    expect(served == wanted, f"serves {sorted(served)}, not {sorted(wanted)}")

    with httpx.Client(base_url=url, timeout=30) as client:
        for path, body in bodies.items():
            predict(client, path, body)

    print(f"answers for {', '.join(sorted(served))}")
    return bodies


def check_stop(container: Container, url: str, bodies: dict[str, object]) -> None:
    """Stop it while clients ask; none of them may get anything but its answer."""
    [path] = [each for each in bodies if "half_plus_two" in each]
    load = Load(url, path, bodies[path])
    load.start()
    load.wait_for(ANSWERS)
    started = time.monotonic()
    container.terminate()
    load.join()
    status = container.exit_status()
    expect(not load.failures, f"lost requests: {load.failures[:3]}")
    expect(status == 0, f"exit status {status}")
    seconds = time.monotonic() - started
    print(f"stopped by SIGTERM in {seconds:.1f} s; {load.answered} answers, 0 lost")
    check_log(container.log())


def check_log(log: str) -> None:
    """Expect nothing worse in it than what the machine allows."""
    lines = [json.loads(line) for line in log.splitlines()]
    worse = [each for each in lines if each["level"] in ("warning", "error")]
    complaints = [each for each in worse if each["event"] != FEWER_FILES]
    expect(not complaints, f"the log complains: {complaints[:3]}")


def check_deployment(podman: Podman, image: str, models: Path) -> None:
    """Play the rendered Deployment, whose models are in a claim's volume."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    manifest = playable(kustomized(), image, port, host_network=podman.nested)

    with filled_volume(podman, models), podman.playing(manifest) as pod:
        with logged(pod):
            print(f"Deployment played: ready after {seconds_until_ready(url):.1f} s")
            check_rights(pod)
            check_answers(url, [path.name for path in models.iterdir()])


@contextmanager
def filled_volume(podman: Podman, models: Path) -> Iterator[None]:
    """Put the models into the volume that Podman takes for the claim."""
    podman.run("volume", "create", CLAIM)

    try:
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            with tarfile.open(file.name, "w") as archive:
                archive.add(models, ".")

            podman.run("volume", "import", CLAIM, file.name)

        yield
    finally:
        podman.run("volume", "rm", "--force", CLAIM)


@contextmanager
def logged(container: Container) -> Iterator[None]:
    """Show the server's log if what is done with it fails."""
    try:
        yield
    except BaseException:
        print(container.log(), file=sys.stderr)
        raise


def expect(held: bool, otherwise: str) -> None:
    if not held:
        raise Failed(otherwise)


def default_base() -> str:
    for line in (PROJECT / "Dockerfile").read_text().splitlines():
        if line.startswith("ARG BASE="):
            return line.removeprefix("ARG BASE=")

    raise Failed("the Dockerfile names no base")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's options, or those of `words`."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.image.check", description=__doc__
    )
    bases = parser.add_mutually_exclusive_group()
    bases.add_argument("--base", help="a base in place of the Dockerfile's")
    bases.add_argument(
        "--base-from-debootstrap",
        action="store_true",
        help="make a base of Debian's packages, where no registry answers (needs root)",
    )
    parser.add_argument("--image", help="an image that is built, in place of a new one")
    parser.add_argument(
        "--nested",
        action="store_true",
        help="Podman runs in a container itself: host network, chroot, runc",
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
