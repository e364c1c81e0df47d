"""A body that is one image: the same call as that of one row in JSON. Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson

from inference import UNNAMED, InvalidRequest
from service.codecs.json.values import BASE64_KEY
from service.codecs.tfserving.request import (
    ROWS,
    SIGNATURE_KEY,
    TOP_K_KEY,
    PredictCall,
    pop_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IMAGE_TYPES = "image/"
"""The beginning of such bodies' media types; the first bytes tell the format."""

PARAMETERS = (SIGNATURE_KEY, TOP_K_KEY)


def image_call(args: Mapping[str, str], body: Sequence[bytes]) -> PredictCall:
    """Return the call of an image; `args` is the URL's query.

    Raise `InvalidRequest` for unknown parameters and no image.
    """
    options = _options(args)
    signature = options.pop(SIGNATURE_KEY, None)
    inputs = {UNNAMED: [_whole(body)]}
    return PredictCall(ROWS, inputs, signature, pop_options(options))


def image_document(args: Mapping[str, str], body: Sequence[bytes]) -> bytes:
    """Return the JSON that asks for the same. Raise as `image_call` does."""
    text = base64.b64encode(_whole(body)).decode()
    return orjson.dumps({**_options(args), ROWS.value: [{BASE64_KEY: text}]})


def _whole(body: Sequence[bytes]) -> bytes:
    whole = b"".join(body)

    if not whole:
        raise InvalidRequest("the body is empty: send the image file as it is")

    return whole


def _options(args: Mapping[str, str]) -> dict[str, Any]:
    unknown = sorted(args.keys() - set(PARAMETERS))

    if unknown:
        raise InvalidRequest(
            f"unknown parameter '{unknown[0][:80]}': beside an image the URL may have"
            f" {' and '.join(PARAMETERS)}"
        )

    options: dict[str, Any] = dict(args)

    if TOP_K_KEY in options and options[TOP_K_KEY].isdecimal():
        # Ten digits are more than any number of classes has.
        options[TOP_K_KEY] = int(options[TOP_K_KEY][:10])

    return options
