from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.redis_servers import running_redis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis_servers import RedisServer


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server
