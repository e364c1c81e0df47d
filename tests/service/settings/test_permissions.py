from __future__ import annotations

import pytest

from service.settings.permissions import permissions_of
from service.settings.settings import SettingsError, load_compiler_settings


def test_operations_that_there_are_may_be_allowed() -> None:
    settings = load_compiler_settings(allow_ops="ReadFile,PyFunc", allow_classes="A>B")

    permissions = permissions_of(settings)

    assert permissions.allow_ops == ("ReadFile", "PyFunc")
    assert permissions.allow_classes == ("A>B",)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("ReadFiles", "; did you mean ReadFile", id="misspelt"),
        pytest.param("readfile", "; did you mean ReadFile", id="lower case"),
        pytest.param("NoSuchThing", "NoSuchThing", id="made up"),
    ],
)
def test_an_unknown_operation_is_refused(name: str, hint: str) -> None:
    settings = load_compiler_settings(allow_ops=f"ReadFile,{name}")

    with pytest.raises(SettingsError) as caught:
        permissions_of(settings)

    assert f"--allow-ops or TANDEM_ALLOW_OPS): TensorFlow has no operation {name}" in (
        str(caught.value)
    )
    assert hint in str(caught.value)
