from __future__ import annotations

import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from inference import ModelState
from tests.support.fakes import tensor
from tests.support.openapi import ROWS, address, described, document, sampled

SERIALIZED = sampled(
    tensor("x", "string", (None,)),
    outputs=[tensor("scores", shape=(None, 2))],
    name="classify",
    method="classify",
)
UNKNOWN = sampled(tensor("x", "string"), outputs=[tensor("y", "complex64")])
NOTHING = sampled(outputs=[tensor("y")])
MODELS = (
    address(ROWS, SERIALIZED),
    address(ROWS, place="flowers/versions/1"),
    address(ROWS, place="flowers/labels/stable", label=True),
    address(UNKNOWN, place="unknown"),
    address(NOTHING, place="nothing"),
    address(place="broken", state=ModelState.END),
)


@pytest.mark.parametrize("models", [MODELS, ()], ids=["models", "no models"])
@pytest.mark.parametrize("more", [True, False], ids=["all", "least"])
def test_document_is_valid(models: tuple[object, ...], more: bool) -> None:
    chosen = MODELS[: len(models)]

    OpenAPIV31SpecValidator(document(*chosen, jobs=more, admin=more)).validate()


def test_calls_that_are_off_are_not_described() -> None:
    whole = document(*MODELS)
    least = document(*MODELS, jobs=False, admin=False)

    gone = whole["paths"].keys() - least["paths"].keys()
    assert {
        path for path in whole["paths"] if re.match("/v1/(jobs|admin)", path)
    } <= gone
    assert "/v2/repository/models/{name}/load" in gone
    assert "/v2/repository/index" not in gone
    assert "securitySchemes" not in least["components"]


def test_every_admin_call_needs_the_token() -> None:
    paths = document(*MODELS)["paths"]
    secured = {
        path
        for path, item in paths.items()
        if any("security" in each for each in item.values() if isinstance(each, dict))
    }

    acts = "/v1/admin/.*|/v2/repository/models/.*"
    assert secured == {path for path in paths if re.fullmatch(acts, path)}


def test_with_keys_all_calls_need_one_but_probes_and_metrics() -> None:
    described = document(*MODELS, keys=True)
    free = {
        path
        for path, item in described["paths"].items()
        if item.get("get", {}).get("security") == []
    }

    OpenAPIV31SpecValidator(described).validate()
    assert described["security"] == [{"apiKey": []}, {"apiKeyAsBearer": []}]
    assert free == {
        *("/livez", "/startupz", "/readyz", "/metrics"),
        *("/v2/health/live", "/v2/health/ready"),
    }
    assert "security" not in document(*MODELS)


def test_paths_of_a_models_addresses() -> None:
    paths = document(*MODELS, jobs=False, admin=False)["paths"]

    assert {path for path in paths if "/flowers" in path} == {
        "/v1/models/flowers:predict",
        "/v1/models/flowers:classify",
        "/v2/models/flowers/infer",
        "/v1/models/flowers/versions/1:predict",
        "/v1/models/flowers/versions/1:classify",
        "/v2/models/flowers/versions/1/infer",
        "/v1/models/flowers/labels/stable:predict",
        "/v1/models/flowers/labels/stable:classify",
    }


@pytest.mark.parametrize("state", [ModelState.LOADING, ModelState.END])
def test_a_model_that_does_not_answer_has_no_calls(state: ModelState) -> None:
    found = document(address(ROWS, state=state))

    assert not [path for path in found["paths"] if "/flowers" in path]
    assert found["components"]["parameters"]["Model"]["schema"] == {
        "type": "string",
        "enum": ["flowers"],
    }


def test_the_default_signature_comes_first() -> None:
    body = document(address(ROWS, SERIALIZED))["paths"]["/v1/models/flowers:predict"][
        "post"
    ]["requestBody"]["content"]["application/json"]

    titles = [each["title"] for each in body["schema"]["anyOf"]]
    assert titles == ["serving_default", "classify"]
    assert list(body["examples"]) == ["serving_default", "classify"]


def test_images_may_be_the_body() -> None:
    image = sampled(tensor("x", shape=(None, 8, 8, 3)))
    paths = document(address(image), address(ROWS, place="rows"))["paths"]

    kinds = {
        name: paths[f"/v1/models/{name}:predict"]["post"]["requestBody"]["content"]
        for name in ("flowers", "rows")
    }
    assert "image/*" in kinds["flowers"]
    assert "image/*" not in kinds["rows"]


def test_models_are_tags_beside_ours() -> None:
    tags = [tag["name"] for tag in document(*MODELS)["tags"]]

    assert tags[:4] == ["flowers", "unknown", "nothing", "broken"]
    # A model's name has no space.
    assert all(" " in tag for tag in tags[4:])
    assert len(set(tags)) == len(tags)


def test_documents_are_the_same_until_a_version_is_loaded_anew() -> None:
    again = sampled(tensor("x", shape=(None, 3)))
    loading = address(ROWS, state=ModelState.LOADING)

    assert described(address(ROWS)).same(described(address(ROWS)))
    assert not described(address(ROWS)).same(described(address(again)))
    assert not described(address(ROWS)).same(described(loading))
    assert not described(address(ROWS)).same(described(address(ROWS), admin=False))
    assert not described(address(ROWS)).same(described())
