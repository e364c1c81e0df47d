"""What of the server's environment the compiler's child is handed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEPT = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "MALLOC_ARENA_MAX",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONPYCACHEPREFIX",
        "PYTHONUTF8",
        "PYTHONWARNINGS",
        "TF_CPP_MIN_LOG_LEVEL",
        "TF_ENABLE_ONEDNN_OPTS",
        "TF_OVERRIDE_GLOBAL_THREADPOOL",
        "TZ",
        "VIRTUAL_ENV",
    }
)
"""Whatever else there is may be a secret, or change what libraries do."""

_PATHS = ("LD_LIBRARY_PATH", "PYTHONPATH")
_POOLS = (
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


def compiler_environment(
    scratch: Path, *, threads: int, given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The child's environment: at home in `scratch`, with `threads` in each pool.

    `given` is the server's own by default.
    """
    given = os.environ if given is None else given
    kept = {name: value for name, value in given.items() if name in KEPT}
    # The child works in another folder, so that "." would be another.
    absolute = {name: _absolute(kept[name]) for name in _PATHS if name in kept}
    pools = dict.fromkeys(_POOLS, str(threads))
    home = dict.fromkeys(("HOME", "TMPDIR"), str(scratch))
    return kept | absolute | pools | home


def _absolute(paths: str) -> str:
    return os.pathsep.join(
        os.path.abspath(path) for path in paths.split(os.pathsep) if path
    )
