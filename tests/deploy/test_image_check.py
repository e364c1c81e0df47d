"""The check of the image finds what is wrong: no image is needed."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]

from deploy.image.check import MOST_ADDED, check_log, check_size, default_base
from deploy.image.clients import Load
from deploy.image.manifests import CLAIM, OVERLAY, playable
from deploy.image.podman import Failed, Podman

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deploy.conftest import Manifest, Tools

GOOD = {"predictions": [2.5]}


@contextmanager
def answering(*answers: tuple[int, object, str]) -> Iterator[str]:
    """Answer each request with the next status, body and Connection, or the last."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body, connection = left.pop(0) if len(left) > 1 else left[0]
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Connection", connection)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def load(*answers: tuple[int, object, str]) -> Load:
    """Ask a server that answers so, until it goes or fails."""
    with answering(*answers) as url:
        asking = Load(url, "/v1/models/two:predict", {"instances": [1]}, clients=1)
        asking.start()
        asking.wait_for(1)
        asking.join()

    return asking


def test_clients_ask_until_the_server_goes_and_once_more() -> None:
    asking = load((200, GOOD, "keep-alive"), (200, GOOD, "close"), (200, GOOD, "close"))

    assert (asking.answered, asking.failures) == (3, [])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(503, {"error": "draining"}, id="an error"),
        pytest.param(200, {"predictions": []}, id="no prediction"),
    ],
)
def test_an_answer_that_is_none_is_a_request_lost(status: int, body: object) -> None:
    asking = load((200, GOOD, "keep-alive"), (status, body, "close"))

    assert asking.answered == 1
    assert len(asking.failures) == 1


def test_a_refused_connection_is_a_request_lost() -> None:
    with answering((200, GOOD, "close")) as url:
        pass

    asking = Load(url, "/v1/models/two:predict", {}, clients=2)
    asking.start()
    asking.wait_for(1)
    asking.join()

    assert len(asking.failures) == 2


@pytest.mark.parametrize(
    ("added", "good"), [(MOST_ADDED, True), (MOST_ADDED + 1, False)]
)
def test_an_image_that_adds_too_much_fails(
    monkeypatch: pytest.MonkeyPatch, added: int, good: bool
) -> None:
    sizes = {"base": 100, "image": 100 + added}
    monkeypatch.setattr(Podman, "size", lambda _, name: sizes[name])

    if good:
        check_size(Podman(), "image", "base")
    else:
        with pytest.raises(Failed, match="may add 1.1 GB at most"):
            check_size(Podman(), "image", "base")


def test_a_warning_in_the_log_fails_unless_it_is_of_the_machine() -> None:
    line = {"level": "warning", "event": "fewer connections than --max-connections"}
    check_log(json.dumps(line))

    with pytest.raises(Failed, match="the log complains: .*unknown variable"):
        check_log(json.dumps(line | {"event": "unknown variable"}))


def test_the_base_is_the_dockerfiles() -> None:
    assert default_base().startswith("python:")


@pytest.fixture(scope="module")
def manifests(tools: Tools) -> str:
    text: str = yaml.safe_dump_all(tools.kustomize(f"overlays/{OVERLAY.name}"))
    return text


@pytest.mark.parametrize("host_network", [False, True])
def test_podman_gets_the_deployment_with_the_image_and_the_claim(
    manifests: str, host_network: bool
) -> None:
    text = playable(manifests, "local:1", 1234, host_network=host_network)
    deployment: Manifest = yaml.safe_load(text)
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    claims = [each["persistentVolumeClaim"] for each in pod["volumes"][:1]]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    ports: list[dict[str, Any]] = container.get("ports", [])

    assert deployment["kind"] == "Deployment"
    assert (container["image"], container["imagePullPolicy"]) == ("local:1", "Never")
    assert claims[0]["claimName"] == CLAIM
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod.get("hostNetwork", False) is host_network
    assert variables.get("TANDEM_PORT") == ("1234" if host_network else None)
    assert [each["hostPort"] for each in ports] == ([] if host_network else [1234])
