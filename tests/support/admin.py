"""A service with its admin calls open, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.clients import make_client

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from inference import Engine

TOKEN = "correct-horse-battery-staple"


def write_token(path: Path, token: str = TOKEN) -> Path:
    path.write_text(f"{token}\n")
    path.chmod(0o600)
    return path


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def admin_client(
    engine: Engine, folder: Path, token: str | None = TOKEN
) -> httpx.AsyncClient:
    """A client that sends `token`; the server's is `TOKEN`."""
    file = write_token(folder / "token")
    client = make_client(engine, admin_token_file=file)
    client.headers.update({} if token is None else bearer(token))
    return client
