"""Clients that people have, and a fuzzer, unchanged, against one running server.

Their packages can't be where ours are, nor beside each other: each has a folder of
packages of its own, made from PyPI once a test run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import PROJECT
from tests.e2e.sites import TOKEN
from tests.support.packages import packages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.sites import Client, Site

pytestmark = [pytest.mark.timeout(600)]

PROGRAMS = PROJECT / "tests" / "e2e" / "real_clients"
MLSERVER = "from mlserver.cli import main; main()"
PINNED = {
    "triton": "tritonclient[http]==2.73.0",
    "kserve": "kserve==0.21.0",
    "mlserver": "mlserver==1.7.1",
    "schemathesis": "schemathesis==4.32.5",
}
SCHEMATHESIS = "from schemathesis.cli import schemathesis; schemathesis()"
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_schema_conformance", "response_headers_conformance"),
    *("unsupported_method", "allow_header_conformance"),
)
OTHERS = r"/models/(?!one[:/]|\{|stats$)|^/v1/overview/events$"
"""Paths of other models than `one`, which come and go with other tests, and of a
stream without an end."""


@pytest.fixture
def client_packages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The packages of a client, by the test's parameter."""
    return packages(tmp_path_factory, request.param, PINNED[request.param])


@pytest.fixture
async def served(living: Site, client: Client) -> str:
    """The address of a server with the models that the programs ask."""
    for stock, name in (("one", "one"), ("two", "spare"), ("words", "words")):
        living.bring(stock, f"{name}.pb")

    for name in ("one", "spare", "words"):
        await client.until(name, state="AVAILABLE")

    return living.server.url


def run(client_packages: Path, *command: str, cwd: Path = PROJECT) -> None:
    """Run a program with a client's packages, and not with ours."""
    done = subprocess.run(
        [sys.executable, "-S", *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(client_packages)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("client_packages", ["triton"], indirect=True)
async def test_tritonclient(client_packages: Path, served: str) -> None:
    address = served.removeprefix("http://")
    run(client_packages, str(PROGRAMS / "triton.py"), address, TOKEN)


@pytest.mark.parametrize("client_packages", ["kserve"], indirect=True)
async def test_kserve(client_packages: Path, served: str) -> None:
    run(client_packages, str(PROGRAMS / "kserve_rest.py"), served)


@pytest.mark.parametrize("client_packages", ["mlserver"], indirect=True)
async def test_mlserver_infer(
    client_packages: Path, served: str, tmp_path: Path
) -> None:
    sent, got = tmp_path / "sent.jsonl", tmp_path / "got.jsonl"
    rows = [[1.0, 2.0], [3.0, 4.0]]
    sent.write_text(
        "".join(
            json.dumps(
                {
                    "inputs": [
                        {"name": "x", "shape": [2], "datatype": "FP32", "data": row}
                    ]
                }
            )
            + "\n"
            for row in rows
        )
    )
    address = served.removeprefix("http://")
    options = ["-u", address, "-m", "one", "-i", str(sent), "-o", str(got)]

    run(client_packages, "-c", MLSERVER, "infer", *options)

    found = [json.loads(line) for line in got.read_text().splitlines()]
    assert sorted(each["outputs"][0]["data"] for each in found) == rows


@pytest.mark.parametrize("client_packages", ["schemathesis"], indirect=True)
async def test_schemathesis(client_packages: Path, served: str, tmp_path: Path) -> None:
    """Send requests made from the OpenAPI document, right and wrong ones."""
    options = ["--checks", ",".join(CHECKS), "--exclude-path-regex", OTHERS]
    options += ["--phases", "examples,coverage,fuzzing", "--max-examples", "3"]
    # Without the admin token, and as quick on a machine that is busy.
    options += ["--generation-deterministic", "--suppress-health-check", "all"]
    options += ["--continue-on-failure", "--warnings", "off", "--no-color"]

    command = ("-c", SCHEMATHESIS, "run", f"{served}/openapi.json", *options)
    # It keeps what it found in the current folder.
    run(client_packages, *command, cwd=tmp_path)
