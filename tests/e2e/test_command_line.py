"""Jobs and files of rows from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from click.testing import CliRunner

from service.cli.main import main
from tests.e2e.page.models import serve
from tests.e2e.processes import run_tandem

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.sites import Site

FACTOR = 2

pytestmark = pytest.mark.timeout(300)


def test_jobs_are_seen_and_fetched_from_the_command_line(living: Site) -> None:
    serve(living, "two", "commanded")
    url = living.server.url
    accepted = httpx.post(
        f"{url}/v1/models/commanded:predict",
        json={"instances": [21.0]},
        headers={"Prefer": "respond-async"},
    )
    id = accepted.json()["id"]
    fetched = run_tandem("jobs", "result", id, "--server", url)
    listed = CliRunner().invoke(
        main, ["jobs", "list", "--status", "succeeded", "--server", url]
    )

    assert json.loads(fetched.stdout) == {"predictions": [42.0]}, fetched.stderr
    assert id in listed.stdout, listed.stderr


def test_a_file_of_rows_goes_through_a_model_and_back(
    living: Site, tmp_path: Path
) -> None:
    serve(living, "two", "filed")
    source, target = tmp_path / "rows.npy", tmp_path / "out.npy"
    rows = np.arange(10_000, dtype=np.float32)
    np.save(source, rows)

    done = run_tandem(
        *("predict", "filed", "--server", living.server.url),
        *("--input", str(source), "--output", str(target)),
    )

    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(target), rows * FACTOR)


def test_a_file_of_rows_goes_through_a_model_without_a_server(
    stock: Path, cache: Path, tmp_path: Path
) -> None:
    source, target = tmp_path / "rows.npy", tmp_path / "out.npy"
    rows = np.arange(10_000, dtype=np.float64)
    np.save(source, rows)

    done = run_tandem(
        *("predict", str(stock / "two.pb"), "--cache-dir", str(cache)),
        *("--input", str(source), "--output", str(target)),
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    np.testing.assert_array_equal(np.load(target), rows * FACTOR)
    assert np.load(target).dtype == np.float32
