from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.compiled_cases import GROUP_OF, CompiledCases

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def compiled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CompiledCases]:
    """The test models, being compiled: those that tests are parametrised by first."""
    cases = CompiledCases(tmp_path_factory.mktemp("cases"))

    for item in request.session.items:
        callspec = getattr(item, "callspec", None)

        for value in callspec.params.values() if callspec else ():
            if isinstance(value, str) and value in GROUP_OF:
                cases.want(value)

    yield cases
    cases.close()
