from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.compiled_cases import GROUP_OF, CompiledCases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def compiled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CompiledCases]:
    """The test models, being compiled: those that tests are parametrised by first."""
    cases = CompiledCases(shared_folder(tmp_path_factory) / "cases")

    for item in request.session.items:
        callspec = getattr(item, "callspec", None)

        for value in callspec.params.values() if callspec else ():
            if isinstance(value, str) and value in GROUP_OF:
                cases.want(value)

    yield cases
    cases.close()
