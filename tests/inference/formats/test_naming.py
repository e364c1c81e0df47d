from __future__ import annotations

from dataclasses import replace

import pytest

from inference.errors import InvalidModel
from inference.formats.naming import MAX_NAME, check_names
from tests.support.specs import signature, spec


@pytest.mark.parametrize("name", ["x", "block/dense:1", "größe", "a b", "x" * MAX_NAME])
def test_printable_names_are_accepted(name: str) -> None:
    check_names({name: replace(signature(spec(name)), name=name)})


@pytest.mark.parametrize("name", ["", "\0", "a\nb", "\x1b[31m", "x" * (MAX_NAME + 1)])
def test_unprintable_names_are_refused(name: str) -> None:
    good = signature(spec("x"))

    for each in (signature(spec(name)), replace(good, name=name)):
        with pytest.raises(InvalidModel, match="can't be the name of an input, output"):
            check_names({"serve": each})
