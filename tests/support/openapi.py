"""Signatures with samples, and the documents that describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference import ModelId, ModelState, ModelStatus, Sample, Signature, TensorSpec
from service.openapi.document import Described, openapi_document
from service.openapi.models import Address
from tests.support.fakes import tensor

if TYPE_CHECKING:
    from collections.abc import Iterable


def sampled(
    *inputs: TensorSpec,
    outputs: Iterable[TensorSpec] = (),
    name: str = "serving_default",
    **fields: Any,
) -> Signature:
    """Return a signature that took zeros in the smallest shapes."""
    found = tuple(outputs) or (tensor("y", shape=(None, 2)),)
    return Signature(
        name=name,
        inputs={spec.name: spec for spec in inputs},
        outputs={spec.name: spec for spec in found},
        **{"sample": Sample(shapes={}), **fields},
    )


ROWS = sampled(tensor("x", shape=(None, 3)))


def address(
    *signatures: Signature,
    place: str = "flowers",
    state: ModelState = ModelState.AVAILABLE,
    label: bool = False,
) -> Address:
    """Return the address of a version whose default signature is the first."""
    name = place.partition("/")[0]
    status = ModelStatus(
        id=ModelId(name, 1),
        path=f"/models/{name}",
        state=state,
        format="SavedModel",
        default_signature=signatures[0].name if signatures else None,
        signatures={each.name: each for each in signatures},
    )
    return Address(place, status, label=label)


def document(
    *models: Address, jobs: bool = True, admin: bool = True, keys: bool = False
) -> dict[str, Any]:
    return openapi_document(described(*models, jobs=jobs, admin=admin, keys=keys))


def described(
    *models: Address, jobs: bool = True, admin: bool = True, keys: bool = False
) -> Described:
    return Described(
        version="1.0", root="", models=models, jobs=jobs, admin=admin, keys=keys
    )
