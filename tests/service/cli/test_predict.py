"""`tandem predict` against a real server whose engine is a fake.

Without a server it is in `tests/service/bulk` and `tests/e2e`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from inference import InputMismatch
from service.cli import offline
from service.cli.main import main
from service.cli.predict import server_of
from service.cli.remote import key_of, predict_url
from tests.service.bulk.models import REFUSED, Doubling, signature
from tests.support.fakes import FakeModel, tensor
from tests.support.fakes import signature as signature_of
from tests.support.jobs import make_job_app
from tests.support.logging_state import restored_logging
from tests.support.servers import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from inference import Signature

ROWS = 300


@contextmanager
def serving(folder: Path, *models: FakeModel, runs: bool = True) -> Iterator[str]:
    # The server's log would be mixed with the command's output.
    with (
        capture_logs(),
        serve(make_job_app(folder / "jobs", *models, runs=runs)) as address,
    ):
        yield address.url


def predict(url: str, *args: str, rows: bytes | None = None) -> Result:
    env = {"TANDEM_SERVER": url}
    return CliRunner().invoke(main, ["predict", *args], env=env, input=rows)


def lines(values: list[Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def halves(count: int) -> list[float]:
    """Return the fake model's answers to 0, 1, 2, …"""
    return [value * 0.5 + 2 for value in range(count)]


def written(folder: Path, values: list[Any]) -> Path:
    source = folder / "rows.ndjson"
    source.write_bytes(lines(values))
    return source


def jobs_of(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{url}/v1/jobs").json()["jobs"]
    return found


def test_lines_in_lines_out(tmp_path: Path) -> None:
    source, target = written(tmp_path, list(range(ROWS))), tmp_path / "out.ndjson"

    with serving(tmp_path) as url:
        result = predict(url, "half", "--input", str(source), "--output", str(target))
        left = jobs_of(url)

    assert result.exit_code == 0, result.output
    assert result.output == ""
    assert target.read_bytes() == lines(halves(ROWS))
    assert left == []


def test_an_array_in_an_array_out(tmp_path: Path) -> None:
    source, target = tmp_path / "rows.npy", tmp_path / "out.npy"
    np.save(source, np.arange(ROWS, dtype=np.float32))

    with serving(tmp_path) as url:
        result = predict(url, "half/1", "--input", str(source), "--output", str(target))

    assert result.exit_code == 0, result.output
    assert np.load(target).tolist() == halves(ROWS)


def test_arrays_by_name_are_rows(tmp_path: Path) -> None:
    source, target = tmp_path / "rows.npz", tmp_path / "out.npy"
    np.savez_compressed(source, x=np.arange(ROWS, dtype=np.float32))

    with serving(tmp_path) as url:
        result = predict(url, "half", "--input", str(source), "--output", str(target))

    assert result.exit_code == 0, result.output
    assert np.load(target).tolist() == halves(ROWS)


class Opened(Doubling):
    """A model as it is opened in this process."""

    key = "k"

    def signature(self, name: str | None) -> Signature:
        return signature()


def both(inputs: Any) -> Any:
    x = inputs["x"]
    if (x < 0).any():
        raise InputMismatch("it is refused")

    return {"y": x * 0.5, "whole": x.astype("int64")}


TWO = signature_of(tensor("x"), outputs=("y", "whole"), name="serving_default")


def test_an_archive_has_an_array_for_each_output(tmp_path: Path) -> None:
    source, target = written(tmp_path, list(range(ROWS))), tmp_path / "out.npz"
    model = FakeModel(signatures=(TWO,), function=both)

    with serving(tmp_path, model) as url:
        result = predict(url, "half", "--input", str(source), "--output", str(target))

    assert result.exit_code == 0, result.output
    with np.load(target) as arrays:
        assert {name: str(arrays[name].dtype) for name in arrays} == {
            "y": "float64",
            "whole": "int64",
        }
        assert arrays["y"].tolist() == [value / 2 for value in range(ROWS)]
        assert arrays["whole"].tolist() == list(range(ROWS))

    assert {each.name for each in tmp_path.iterdir()} == {
        *(source.name, target.name, "jobs")
    }


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        pytest.param([-1, -2], "no row has an answer", id="all"),
        pytest.param([1, -2], "no place for that", id="one, beside whole numbers"),
    ],
)
def test_failed_rows_of_no_archive_are_listed(
    tmp_path: Path, rows: list[int], words: str
) -> None:
    source, target = written(tmp_path, rows), tmp_path / "out.npz"
    model = FakeModel(signatures=(TWO,), function=both)

    with serving(tmp_path, model) as url:
        result = predict(url, "half", "--input", str(source), "--output", str(target))

    assert result.exit_code == 1
    assert "! row 2: it is refused" in result.stderr
    assert words in result.stderr
    assert {each.name for each in tmp_path.iterdir()} == {source.name, "jobs"}


def test_an_archive_is_written_here_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "opened", lambda call: nullcontext(Opened()))
    source, target = written(tmp_path, [0.25, REFUSED, 2]), tmp_path / "out.npz"

    with restored_logging():
        result = predict("", ".", "--input", str(source), "--output", str(target))

    assert result.exit_code == 1
    assert "1 of 3 rows failed" in result.stderr
    with np.load(target) as arrays:
        np.testing.assert_array_equal(arrays["predictions"], [0.5, np.nan, 4.0])

    assert set(tmp_path.iterdir()) == {source, target}


@pytest.mark.parametrize("output", [(), ("--output", "-")], ids=["none", "-"])
def test_from_standard_input_to_standard_output(
    tmp_path: Path, output: tuple[str, ...]
) -> None:
    with serving(tmp_path) as url:
        result = predict(url, "half", "--input", "-", *output, rows=lines([0, 1]))

    assert result.exit_code == 0, result.output
    assert result.stdout_bytes == lines(halves(2))


def test_there_are_no_others_where_all_rows_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "opened", lambda call: nullcontext(Opened()))
    source = written(tmp_path, [REFUSED, REFUSED])

    result = predict("", ".", "--input", str(source))

    assert result.exit_code == 1
    assert result.stderr.endswith("2 of 2 rows failed\n")


def test_failed_rows_are_listed_and_the_others_are_written(tmp_path: Path) -> None:
    source, target = written(tmp_path, [0, "a", 2]), tmp_path / "out.npy"

    with serving(tmp_path) as url:
        result = predict(url, "half", "--input", str(source), "--output", str(target))

    assert result.exit_code == 1
    assert "! row 2: " in result.stderr
    assert "1 of 3 rows failed" in result.stderr
    np.testing.assert_array_equal(np.load(target), [2.0, np.nan, 3.0])


def test_rows_that_all_failed_are_listed_though_they_make_no_array(
    tmp_path: Path,
) -> None:
    def refuse(inputs: Any) -> Any:
        raise InputMismatch("it is refused")

    source, target = written(tmp_path, [0, 1]), tmp_path / "out.npy"

    with serving(tmp_path, FakeModel(function=refuse)) as url:
        result = predict(url, "half", "--input", str(source), "--output", str(target))

    assert result.exit_code == 1
    assert "0 of 2 rows have numbers: there is no array" in result.stderr
    assert "! row 1: it is refused\n! row 2: it is refused\n" in result.stderr
    assert not target.exists()


def test_rows_that_all_failed_here_are_listed_though_they_make_no_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "opened", lambda call: nullcontext(Opened()))
    source, target = written(tmp_path, [REFUSED, REFUSED]), tmp_path / "out.npy"

    with restored_logging():
        result = predict("", ".", "--input", str(source), "--output", str(target))

    assert result.exit_code == 1
    assert "no row has numbers: there is no array" in result.stderr
    assert "! row 1: it is refused\n! row 2: it is refused\n" in result.stderr
    assert list(tmp_path.iterdir()) == [source]


def test_the_same_command_goes_on_with_the_job_of_an_earlier_one(
    tmp_path: Path,
) -> None:
    source, target = written(tmp_path, [0, 1]), tmp_path / "out.ndjson"

    with serving(tmp_path, runs=False) as url:
        # What a command that was interrupted had sent.
        httpx.post(
            f"{url}{predict_url('half', None)}",
            content=source.read_bytes(),
            headers={
                "Prefer": "respond-async",
                "Content-Type": "application/x-ndjson",
                "Idempotency-Key": key_of(predict_url("half", None), source),
            },
        )
        (job,) = jobs_of(url)

    with serving(tmp_path) as url:
        done = httpx.get(f"{url}{job['urls']['result']}", headers={"Prefer": "wait=60"})
        result = predict(url, "half", "--input", str(source), "--output", str(target))
        left = jobs_of(url)

    assert done.status_code == 200
    assert result.exit_code == 0, result.output
    assert target.read_bytes() == done.content
    # It was that very job that was fetched and forgotten: there is no other.
    assert left == []


def test_a_job_that_was_canceled_is_begun_anew(tmp_path: Path) -> None:
    source = written(tmp_path, [0, 1])

    with serving(tmp_path, runs=False) as url:
        httpx.post(
            f"{url}{predict_url('half', None)}",
            content=source.read_bytes(),
            headers={
                "Prefer": "respond-async",
                "Content-Type": "application/x-ndjson",
                "Idempotency-Key": key_of(predict_url("half", None), source),
            },
        )
        (job,) = jobs_of(url)
        httpx.post(f"{url}{job['urls']['cancel']}")

    with serving(tmp_path) as url:
        result = predict(url, "half", "--input", str(source))

    assert result.exit_code == 0, result.output
    assert result.stdout_bytes == lines(halves(2))


@pytest.mark.parametrize(
    ("model", "rows", "code", "words"),
    [
        pytest.param("none", b"1\n", 5, "none", id="no such model"),
        pytest.param("half/x", b"1\n", 2, "MODEL/VERSION", id="no version"),
        pytest.param("half", b"1\n{\n", 1, "row 2 isn't JSON", id="no JSON"),
        pytest.param("half", b"", 1, "no row", id="no rows"),
    ],
)
def test_mistakes_are_explained(
    tmp_path: Path, model: str, rows: bytes, code: int, words: str
) -> None:
    with serving(tmp_path) as url:
        result = predict(url, model, "--input", "-", rows=rows)

    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_result_that_makes_no_array_is_no_file(tmp_path: Path) -> None:
    def names(inputs: Any) -> Any:
        return {"y": np.full(inputs["x"].shape, b"name", dtype=object)}

    target = tmp_path / "out.npy"

    with serving(tmp_path, FakeModel(function=names)) as url:
        result = predict(
            url, "half", "--input", "-", "--output", str(target), rows=b"1\n"
        )

    assert result.exit_code == 1
    assert "no numbers" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["jobs"]


URL = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("model", "args", "variable", "server"),
    [
        pytest.param("name", {"server": URL}, None, URL, id="flag"),
        pytest.param("name", {}, URL, URL, id="variable"),
        pytest.param("name", {"models": Path(".")}, URL, None, id="folder of models"),
        pytest.param(__file__, {}, URL, None, id="path of a model"),
        pytest.param(__file__, {"server": URL}, None, URL, id="flag before a path"),
        pytest.param("name", {}, None, None, id="neither"),
    ],
)
def test_a_server_is_asked_where_one_is_meant(
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    args: dict[str, Any],
    variable: str | None,
    server: str | None,
) -> None:
    monkeypatch.setenv("TANDEM_SERVER", variable or "")

    flags = {"models": None, "server": None, **args}
    assert server_of(model, **flags) == server


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        pytest.param(["none"], 2, "there is no file or folder 'none'", id="no path"),
        pytest.param(["a/b", "--models", "."], 2, "MODEL/VERSION", id="no version"),
        pytest.param(
            ["a", "--models", ".", "--server", URL], 2, "exclude", id="both places"
        ),
        pytest.param(["."], 1, "no model that can be served", id="no model"),
    ],
)
def test_mistakes_without_a_server_are_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    with restored_logging():
        result = predict("", *args, "--input", "-", rows=b"1\n")

    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output
