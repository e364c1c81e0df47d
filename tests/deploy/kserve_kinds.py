"""KServe's kinds as its own SDK has them: the models that are made from its schema."""

from __future__ import annotations

import importlib
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

PLAIN = {"str": str, "int": int, "bool": bool, "float": float, "object": object}


def check(value: Any, kind: str, place: str, models: Any) -> None:
    """Raise `ValueError` unless `value` is of a kind; pass over Kubernetes' own."""
    inner = re.fullmatch(r"(list|dict)\((?:str, )?(.*)\)", kind)

    if inner and inner[1] == "list":
        for number, each in enumerate(value):
            check(each, inner[2], f"{place}[{number}]", models)
    elif inner:
        for name, each in value.items():
            check(each, inner[2], f"{place}.{name}", models)
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]):
            raise ValueError(f"{place}: {value!r} is no {kind}")
    elif hasattr(models, kind):
        check_fields(value, getattr(models, kind), place, models)


def check_fields(value: dict[str, Any], model: Any, place: str, models: Any) -> None:
    names = {name: field for field, name in model.attribute_map.items()}

    if unknown := value.keys() - names.keys():
        raise ValueError(f"{place}: no {unknown} among {sorted(names)}")

    for name, each in value.items():
        check(each, model.openapi_types[names[name]], f"{place}.{name}", models)

    # It raises where something that must be there isn't.
    model(**{names[name]: each for name, each in value.items()})


def main(package: Path) -> None:
    # Its own __init__ imports a server, and all that needs.
    parent = types.ModuleType("kserve")
    parent.__path__ = [str(package / "kserve")]
    sys.modules["kserve"] = parent
    models = importlib.import_module("kserve.models")

    for document in json.load(sys.stdin):
        version = document["apiVersion"].removeprefix("serving.kserve.io/v")
        model = getattr(models, f"V{version}{document['kind']}")
        check_fields(document, model, document["kind"], models)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
