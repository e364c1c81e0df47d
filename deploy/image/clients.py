"""Requests of clients to a server of the image's."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from deploy.image.podman import Failed

PATIENCE_SECONDS = 300.0


def seconds_until_ready(url: str) -> float:
    """Wait for `/readyz` to be 200; return how long it took."""
    started = time.monotonic()

    while (seconds := time.monotonic() - started) < PATIENCE_SECONDS:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return seconds
        except httpx.TransportError:
            pass

        time.sleep(0.1)

    raise Failed(f"not ready within {PATIENCE_SECONDS:.0f} s")


def examples(url: str) -> dict[str, Any]:
    """Return a body for each model that the server knows, from its own document."""
    paths = httpx.get(f"{url}/openapi.json").raise_for_status().json()["paths"]
    found = {}

    for path, calls in paths.items():
        if path.startswith("/v1/models/") and path.endswith(":predict"):
            content = calls["post"]["requestBody"]["content"]["application/json"]
            found[path] = next(iter(content["examples"].values()))["value"]

    return found


def predict(client: httpx.Client, path: str, body: object) -> httpx.Response:
    """Return a model's answer. Raise `Failed` unless it is 200 with predictions."""
    response = client.post(path, json=body)

    if response.status_code != 200 or not response.json().get("predictions"):
        raise Failed(f"{path}: {response.status_code} {response.text[:500]}")

    return response


@dataclass(slots=True)
class Load:
    """Clients on connections of their own, until the server says that it goes."""

    url: str
    path: str
    body: object
    clients: int = 8
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _counting: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> None:
        self._threads += [
            threading.Thread(target=self._ask) for _ in range(self.clients)
        ]

        for thread in self._threads:
            thread.start()

    def wait_for(self, answers: int) -> None:
        """Return when there are so many answers, or a failure."""
        with self._counting:
            self._counting.wait_for(lambda: self.answered >= answers or self.failures)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        try:
            with httpx.Client(base_url=self.url, timeout=30) as client:
                while "close" not in self._answer(client):
                    pass

                # A balancer that hasn't heard of it yet sends another connection.
                self._answer(client)
        except (Failed, httpx.HTTPError, ValueError) as exc:
            with self._counting:
                self.failures.append(repr(exc))
                self._counting.notify()

    def _answer(self, client: httpx.Client) -> str:
        """Return the answer's Connection header."""
        response = predict(client, self.path, self.body)

        with self._counting:
            self.answered += 1
            self._counting.notify()

        connection: str = response.headers.get("connection", "")
        return connection
