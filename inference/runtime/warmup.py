"""Warm-up of a new version with the requests recorded beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.errors import InferenceError, InvalidRequest
from inference.inputs.binding import bind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.inputs.recorded_requests import RecordedRequest
    from inference.runtime.servable import Servable


def replay(servable: Servable, requests: Iterable[RecordedRequest]) -> None:
    """Run the requests. Raises `InferenceError` that names the failing one."""
    for request in requests:
        name = request.signature or servable.manifest.default_signature

        try:
            if name not in servable.signatures:
                raise InvalidRequest(_missing_signature(name, servable))

            servable.run(name, bind(servable.signatures[name], request.inputs))
        except InferenceError as exc:
            raise type(exc)(f"{request.place}: {exc}") from exc


def _missing_signature(name: str, servable: Servable) -> str:
    why = servable.manifest.left_out.get(name)
    refused = f"the signature '{name}' can't be served: {why}."
    return refused if why else f"there is no signature '{name}'."
