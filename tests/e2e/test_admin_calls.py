"""Admin calls to a real server, over HTTP and by the commands of `tandem`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest
from click.testing import CliRunner

from service.cli.main import main
from tests.e2e.processes import run_tandem
from tests.e2e.sites import TOKEN

if TYPE_CHECKING:
    from click.testing import Result

    from tests.e2e.sites import Client, Site

CALLS = [
    ("POST", "models/admin/load", None),
    ("POST", "models/admin/versions/1/unload", None),
    ("PUT", "models/admin/labels", {"stable": 1}),
    ("PUT", "models/admin/pin", {"pinned": True}),
    ("PUT", "models/admin/concurrency", {"concurrency": 2}),
    ("POST", "rescan", None),
    ("PUT", "drain", {"draining": True}),
]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
async def admin(client: Client, living: Site) -> None:
    if not (living.folder / "admin").exists():
        living.version("one", "admin", 1)
        (living.folder / "admin/model.toml").write_text("versions = { all = true }\n")

    await client.serves("admin")


async def tandem(site: Site, *args: str) -> Result:
    """Run a command in a thread, because it blocks."""
    env = {"TANDEM_SERVER": site.server.url, "TANDEM_ADMIN_TOKEN_FILE": str(site.token)}

    def run() -> Result:
        return CliRunner().invoke(main, args, env=env)

    return await anyio.to_thread.run_sync(run)


@pytest.mark.parametrize("header", [None, "Bearer another-token-than-that", TOKEN])
async def test_calls_without_the_token_are_refused(
    client: Client, header: str | None
) -> None:
    headers = {"Authorization": header} if header else {}

    for method, path, body in CALLS:
        answer = await client.request(
            method, f"/v1/admin/{path}", json=body, headers=headers
        )
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    version = await client.version("admin")
    assert (version["state"], version["labels"], version["pinned"]) == (
        "AVAILABLE",
        [],
        False,
    )
    assert (await client.get("/readyz")).status_code == 200


async def test_load_and_unload(client: Client, living: Site) -> None:
    unload = await tandem(living, "unload", "admin")
    unloaded = await client.version("admin")
    refused = await client.ask("admin")
    load = await client.admin("POST", "models/admin/load")

    assert unload.exit_code == 0, unload.output
    assert (unloaded["state"], unloaded["memory_bytes"]) == ("END", 0)
    assert refused.status_code == 503
    assert "an operator can load it again" in refused.json()["error"]
    assert load.json()["versions"][0]["state"] == "AVAILABLE"
    assert await client.factor("admin") == 1.0

    assert (await client.admin("POST", "models/admin/unload")).status_code == 200
    assert (await tandem(living, "load", "admin/1")).exit_code == 0
    assert await client.factor("admin") == 1.0


async def test_labels_pins_and_concurrency(client: Client, living: Site) -> None:
    commands = [
        ("label", "admin", "stable=1", "canary=1"),
        ("label", "admin", "canary=-"),
        ("pin", "admin/1"),
        ("concurrency", "admin", "3"),
    ]

    for command in commands:
        result = await tandem(living, *command)
        assert result.exit_code == 0, result.output

    set_by_command = await client.version("admin")
    await client.admin("PUT", "models/admin/labels", {"stable": None})
    await client.admin("PUT", "models/admin/versions/1/pin", {"pinned": False})
    await client.admin("PUT", "models/admin/concurrency", {"concurrency": 1})
    set_by_call = await client.version("admin")

    wanted = ("labels", "pinned", "concurrency")
    assert [set_by_command[key] for key in wanted] == [["stable"], True, 3]
    assert [set_by_call[key] for key in wanted] == [[], False, 1]
    assert (await tandem(living, "concurrency", "admin", "0")).exit_code == 1
    # Settings survive a reload of the version.
    await client.admin("PUT", "models/admin/concurrency", {"concurrency": 4})
    await client.admin("POST", "models/admin/unload")
    await client.admin("POST", "models/admin/load")
    assert (await client.version("admin"))["concurrency"] == 4


async def test_rescan_finds_new_models_at_once(client: Client, living: Site) -> None:
    living.bring("two", "rescanned.pb")
    (living.folder / "-bad-.pb").write_bytes(b"")

    answer = (await client.admin("POST", "rescan")).json()
    factor = await client.factor("rescanned")
    command = await tandem(living, "rescan", "--json")

    assert factor == 2.0
    assert any("-bad-.pb" in problem for problem in answer["problems"])
    assert json.loads(command.stdout)["problems"] == answer["problems"]


async def test_a_draining_server_is_not_ready_but_serves(
    client: Client, living: Site
) -> None:
    assert (await tandem(living, "drain")).output == "draining\n"
    draining = await client.get("/readyz")
    factor = await client.factor("always")
    metric = await client.metric("tandem_draining")
    answer = await client.admin("PUT", "drain", {"draining": False})

    assert (draining.status_code, factor, metric) == (503, 1.0, 1)
    assert answer.json() == {"draining": False}
    assert (await client.get("/readyz")).status_code == 200


async def test_each_failure_of_a_command_has_its_exit_code(living: Site) -> None:
    wrong = living.token.with_name("wrong")
    wrong.write_text("another-token-than-that")

    codes = [
        (await tandem(living, *args)).exit_code
        for args in (
            ("models",),
            ("load", "admin", "--token-file", str(wrong)),
            ("load", "nobody"),
            ("label", "admin", "stable=9"),
        )
    ]

    assert codes == [0, 4, 5, 5]
    done = run_tandem("models", "--server", living.server.url, "--json")
    assert done.returncode == 0, done.stderr
    assert "admin" in {model["name"] for model in json.loads(done.stdout)["models"]}


async def test_every_act_is_logged_without_the_token(
    client: Client, living: Site
) -> None:
    await client.admin("PUT", "models/admin/pin", {"pinned": False})
    acts = living.events("admin act", "admin")

    assert acts[-1]["act"] == "pin"
    assert TOKEN not in living.server.log.read_text()
