"""A running server whose repository changes, and a client of it."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from tests.e2e.processes import TANDEM, free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.e2e.processes import Server

TOKEN = "a-token-for-the-tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
PATIENCE_SECONDS = 180.0
SCAN_SECONDS = "0.3"
SETTINGS = "settings.toml"
"""The name of the settings' file, beside the token's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server of `folder`, which it knows as `link`, a symlink.

    `stock` has model files that are compiled already.
    """

    server: Server
    folder: Path
    link: Path
    stock: Path
    token: Path

    def bring(self, stock: str, name: str) -> Path:
        """Add a complete file in one step, as a rename does."""
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(f".{target.name}")
        shutil.copy(self.stock / f"{stock}.pb", hidden)
        os.rename(hidden, target)
        return target

    def version(self, stock: str, name: str, number: int) -> Path:
        """Add a version's folder in one step."""
        hidden = self.bring(stock, f"{name}/.{number}/model.pb").parent
        target = self.folder / name / str(number)
        os.rename(hidden, target)
        return target / "model.pb"

    def events(self, event: str, model: str | None = None) -> list[dict[str, Any]]:
        """Return the log lines of a model, or all."""
        lines = self.server.log.read_text().splitlines()
        told = [json.loads(line) for line in lines if line[:1] == "{"]
        return [
            each
            for each in told
            if each["event"] == event and model in (None, each.get("model"))
        ]


@contextmanager
def site(
    root: Path, stock: Path, cache: Path, *flags: str, **env: str
) -> Iterator[Site]:
    """Run a server of an empty folder below `root`, with `cache`.

    A later server of the same `root` has its models.
    """
    folder, link, token = root / "models", root / "link", root / "token"
    if not link.is_symlink():
        folder.mkdir()
        link.symlink_to(folder)

    token.write_text(TOKEN)
    token.chmod(0o600)
    port = free_port()
    command = [*TANDEM, "serve", str(link), "--port", str(port), "--no-screen"]
    command += ["--cache-dir", str(cache), "--scan-seconds", SCAN_SECONDS, *flags]

    with running(command, port, root / "log", **env) as server:
        yield Site(server=server, folder=folder, link=link, stock=stock, token=token)


class Client(httpx.AsyncClient):
    """A client of one server."""

    async def ask(
        self, name: str, value: float = 3.0, place: str = ""
    ) -> httpx.Response:
        """Predict; `place` is `/versions/2` or `/labels/stable`."""
        body = {"instances": [value]}
        return await self.post(f"/v1/models/{name}{place}:predict", json=body)

    async def factor(self, name: str, place: str = "") -> float:
        """Return the factor of the file that answers."""
        response = await self.ask(name, place=place)
        assert response.status_code == 200, response.text
        [value] = response.json()["predictions"]
        return float(value) / 3

    async def models(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Return the index's versions by model and number."""
        response = await self.get("/v1/models")
        assert response.status_code == 200, response.text
        return {
            model["name"]: {each["version"]: each for each in model["versions"]}
            for model in response.json()["models"]
        }

    async def version(self, name: str, number: int = 1) -> dict[str, Any]:
        """Return the index's entry of a version, empty if there is none."""
        return (await self.models()).get(name, {}).get(number, {})

    async def until(self, name: str, number: int = 1, **wanted: Any) -> dict[str, Any]:
        """Poll the index until a version has the `wanted` values."""
        found: Mapping[str, Any] = {}

        with anyio.move_on_after(PATIENCE_SECONDS):
            while True:
                found = await self.version(name, number)

                if found and all(found[key] == wanted[key] for key in wanted):
                    return dict(found)

                await anyio.sleep(0.05)

        raise AssertionError(f"{name}/{number} isn't {wanted}, but {found}")

    async def serves(self, name: str, number: int = 1) -> dict[str, Any]:
        return await self.until(name, number, state="AVAILABLE", update_error=None)

    async def gone(self, name: str, number: int = 1) -> None:
        await self.eventually(lambda models: number not in models.get(name, {}))

    async def until_factor(self, name: str, factor: float) -> None:
        """Poll until another file answers; every answer must be of one of them."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while await self.factor(name) != factor:
                await anyio.sleep(0.05)

    async def until_metric(self, name: str, value: float) -> None:
        with anyio.fail_after(PATIENCE_SECONDS):
            while await self.metric(name) != value:
                await anyio.sleep(0.05)

    async def eventually(
        self, holds: Callable[[dict[str, dict[int, dict[str, Any]]]], bool]
    ) -> None:
        """Poll until `holds` is true of the index."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while not holds(await self.models()):
                await anyio.sleep(0.05)

    async def metrics(self) -> dict[str, float]:
        """Return the metrics by name with labels."""
        text = (await self.get("/metrics")).text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#"]
        return {name: float(value) for name, value in lines}

    async def metric(self, name: str, model: str = "", version: int = 1) -> float:
        labels = f'{{model="{model}",version="{version}"}}' if model else ""
        return (await self.metrics())[f"{name}{labels}"]

    async def admin(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send an admin call with the token."""
        return await self.request(
            method, f"/v1/admin/{path}", json=body, headers=AUTHORIZED
        )
