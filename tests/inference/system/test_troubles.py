"""The troubles of the machine, told from the errors that they cause."""

from __future__ import annotations

import errno
import os

import pytest

from inference.errors import InferenceError, InvalidModel, LoadFailed
from inference.system.troubles import trouble_in, trouble_of, troubles_told

FULL = os.strerror(errno.ENOSPC)


def chain(*errors: BaseException) -> BaseException:
    """Return the last error, each caused by the one before it."""
    for cause, error in zip(errors, errors[1:], strict=False):
        error.__cause__ = cause

    return errors[-1]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError(errno.ENOSPC, FULL), id="itself"),
        pytest.param(
            chain(OSError(errno.ENOSPC, FULL), InvalidModel("is damaged")), id="a cause"
        ),
        pytest.param(
            chain(
                OSError(f"Can't write (errno = 28, error message = '{FULL}')"),
                ValueError("unreadable"),
                InvalidModel("is damaged"),
            ),
            id="a library's text",
        ),
    ],
)
def test_a_full_disk_is_found_among_the_causes(error: BaseException) -> None:
    told = trouble_of(error, "/cache")

    assert told == (
        f"{FULL}: /cache. Free space there, or name another folder with --cache-dir."
    )


def test_the_file_of_the_error_is_named() -> None:
    error = OSError(errno.EIO, os.strerror(errno.EIO), "/models/a.h5")

    assert (trouble_of(error, "/cache") or "").startswith(
        "Input/output error: /models/a.h5. Check the disk"
    )


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(FileNotFoundError(errno.ENOENT, "No such file"), id="no file"),
        pytest.param(OSError("bad object header"), id="a damaged file"),
        pytest.param(InvalidModel(f"layer '{FULL}' is unknown"), id="a quoted name"),
        pytest.param(ValueError("shapes differ"), id="another error"),
    ],
)
def test_errors_of_the_model_are_no_trouble(error: BaseException) -> None:
    assert trouble_of(error, "/cache") is None


def test_a_lack_of_memory_is_a_trouble() -> None:
    assert "more memory" in (trouble_of(MemoryError(), "/cache") or "")


def test_a_text_without_a_trouble_tells_none() -> None:
    assert trouble_in("Segmentation fault", "/cache") is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(OSError(errno.EMFILE, "Too many"), LoadFailed, id="a trouble"),
        pytest.param(InvalidModel("bad"), InvalidModel, id="the model's"),
    ],
)
def test_only_troubles_change_an_errors_class(
    error: Exception, kind: type[InferenceError]
) -> None:
    with pytest.raises(InferenceError) as caught, troubles_told("/cache"):
        raise error

    assert type(caught.value) is kind
