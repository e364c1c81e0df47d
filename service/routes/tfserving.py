"""TensorFlow Serving's REST API, and a list of models."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask import Blueprint, request

from inference import (
    LoadFailed,
    ModelLoading,
    ModelNotFound,
    ModelSpec,
    ModelState,
    ModelUnloaded,
    PredictRequest,
)
from service.codecs.npy import ARRAY_TYPES
from service.codecs.tfserving.examples import Method
from service.codecs.tfserving.image import (
    IMAGE_TYPES,
    image_call,
    image_document,
)
from service.codecs.tfserving.metadata import metadata_document
from service.codecs.tfserving.status import models_document, status_document
from service.codecs.tfserving.urls import not_found, status_not_found
from service.jobs.job import JobRequest
from service.jobs.rows import NPY, NPZ, ROW_TYPES
from service.prediction import (
    ArrayBody,
    check_examples,
    predict,
    predict_array_body,
    predict_call,
    predict_examples,
)
from service.routes.job_submission import accept, current_jobs, submit
from service.routes.plain_predict import PlainPredict
from service.routes.predicting import respond
from service.routes.rows import accept_rows
from service.web.context import current_engine, current_request
from service.web.direct import direct
from service.web.json_body import JSON, read_body, read_json_body
from service.web.keys import allowed
from service.web.response import encoded_json_response, json_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Request, Response

    from inference import ModelStatus
    from service.caching.cache import CacheUse
    from service.jobs.job import Job
    from service.web.body_budget import Reservation
    from service.web.context import Serving

bp = Blueprint("tfserving", __name__, url_prefix="/v1/models")


@contextmanager
def told(spec: ModelSpec) -> Iterator[None]:
    """Tell of a model that isn't found as TensorFlow Serving does."""
    try:
        yield
    except ModelNotFound as exc:
        raise not_found(exc, spec) from None


@bp.get("")
async def list_models() -> Response:
    engine = current_engine()
    models = models_document(allowed(engine.models()), request.script_root)
    error = engine.overview().repository_error
    return json_response({"models": models, "repository_error": error})


@bp.get("/<model:name>")
@bp.get("/<model:name>/versions/<version:version>")
@bp.get("/<model:name>/labels/<label:label>")
async def show_status(
    name: str, version: int | None = None, label: str | None = None
) -> Response:
    engine = current_engine()
    spec = ModelSpec(name=name, version=version, label=label)
    try:
        if version is None and label is None:
            return json_response(status_document(engine.versions(name)))

        return json_response(status_document([engine.status(spec)]))
    except ModelNotFound as exc:
        raise status_not_found(exc, spec) from None


@bp.get("/<model:name>/metadata")
@bp.get("/<model:name>/versions/<version:version>/metadata")
@bp.get("/<model:name>/labels/<label:label>/metadata")
async def show_metadata(
    name: str, version: int | None = None, label: str | None = None
) -> Response:
    spec = ModelSpec(name=name, version=version, label=label)
    with told(spec):
        status = current_engine().status(spec)

    check_loaded(status)
    return json_response(metadata_document(status))


@bp.post("/<model:name>:predict")
@bp.post("/<model:name>/versions/<version:version>:predict")
@bp.post("/<model:name>/labels/<label:label>:predict")
@direct(PlainPredict.prepare)
async def predict_model(
    name: str, version: int | None = None, label: str | None = None
) -> Response:
    spec = ModelSpec(name=name, version=version, label=label)
    image = current_request().mimetype.startswith(IMAGE_TYPES)
    with told(spec):
        return await respond(ImageBody() if image else RowsAndColumns(), spec)


class ImageBody:
    """The `Front` of predict bodies that are an image."""

    async def accept_large(self, this: Request, spec: ModelSpec) -> Job | None:
        return None

    def read(self, this: Request, reservation: Reservation) -> list[bytes]:
        return read_body(this, reservation)

    async def accept(self, this: Request, spec: ModelSpec, body: list[bytes]) -> Job:
        document = image_document(this.args, body)
        return await accept(this, spec, [document], path=this.path)

    async def predict(
        self,
        serving: Serving,
        spec: ModelSpec,
        body: list[bytes],
        wait: float | None,
        cached: CacheUse | None,
    ) -> Response:
        this = current_request()
        kind = accepted_arrays(this)
        answer = await predict_call(
            serving.engine,
            spec,
            image_call(this.args, body),
            wait=wait,
            cached=cached,
            max_bytes=serving.max_answer_bytes,
            kind=kind,
        )
        return _in_kind(answer, kind)


class RowsAndColumns:
    """The `Front` of predict bodies in JSON, or of arrays."""

    async def accept_large(self, this: Request, spec: ModelSpec) -> Job | None:
        return await accept_rows(this, spec) if this.mimetype in ROW_TYPES else None

    def read(self, this: Request, reservation: Reservation) -> list[bytes]:
        if this.mimetype in ARRAY_TYPES:
            return read_body(this, reservation)

        return read_json_body(this, reservation)

    async def accept(self, this: Request, spec: ModelSpec, body: list[bytes]) -> Job:
        return await accept(this, spec, body, path=this.path)

    async def predict(
        self,
        serving: Serving,
        spec: ModelSpec,
        body: list[bytes],
        wait: float | None,
        cached: CacheUse | None,
    ) -> Response:
        this = current_request()
        kind = accepted_arrays(this)
        if this.mimetype in ARRAY_TYPES:
            most_bytes = serving.inflation.max_bytes
            answer = await predict_array_body(
                serving.engine,
                PredictRequest(
                    model=spec,
                    inputs={},
                    signature=this.args.get("signature_name"),
                    timeout=wait,
                ),
                ArrayBody(this.mimetype, b"".join(body), most_bytes),
                limiter=serving.rows_limiter,
                cached=cached,
                max_bytes=serving.max_answer_bytes,
                kind=kind,
            )
        else:
            answer = await predict(
                serving.engine,
                spec,
                body,
                serving.decoders,
                wait=wait,
                cached=cached,
                max_bytes=serving.max_answer_bytes,
                kind=kind,
            )

        return _in_kind(answer, kind)


def _in_kind(answer: bytes | list[bytes], kind: str | None) -> Response:
    response = encoded_json_response(answer)
    response.headers["Content-Type"] = kind or JSON
    return response


def accepted_arrays(this: Request) -> str | None:
    """Return the media type of arrays that the client prefers to JSON, if any."""
    if "x-np" not in this.environ.get("HTTP_ACCEPT", ""):
        return None

    best = this.accept_mimetypes.best_match([JSON, NPY, NPZ], default=JSON)
    return None if best == JSON else best


@bp.post("/<model:name>:<any(classify, regress):method>")
@bp.post("/<model:name>/versions/<version:version>:<any(classify, regress):method>")
@bp.post("/<model:name>/labels/<label:label>:<any(classify, regress):method>")
async def answer_examples(
    name: str, method: str, version: int | None = None, label: str | None = None
) -> Response:
    spec = ModelSpec(name=name, version=version, label=label)
    with told(spec):
        return await respond(Examples(Method(method)), spec)


class Examples:
    """The `Front` of classify and regress bodies."""

    def __init__(self, method: Method) -> None:
        self._method = method

    async def accept_large(self, this: Request, spec: ModelSpec) -> Job | None:
        """Return `None`: large work is of rows."""

    def read(self, this: Request, reservation: Reservation) -> list[bytes]:
        return read_json_body(this, reservation)

    async def accept(self, this: Request, spec: ModelSpec, body: list[bytes]) -> Job:
        # Without a store of jobs, nothing is to be checked.
        current_jobs()
        signature = check_examples(current_engine(), spec, self._method, body)
        request = JobRequest(
            path=this.path, headers={"content-type": JSON}, body=b"".join(body)
        )
        return await submit(this, spec, signature, request)

    async def predict(
        self,
        serving: Serving,
        spec: ModelSpec,
        body: list[bytes],
        wait: float | None,
        cached: CacheUse | None,
    ) -> Response:
        answer = await predict_examples(
            serving.engine,
            spec,
            self._method,
            body,
            limiter=serving.rows_limiter,
            wait=wait,
            cached=cached,
            max_bytes=serving.max_answer_bytes,
        )
        return encoded_json_response(answer)


def check_loaded(status: ModelStatus) -> None:
    """Raise `LoadFailed`, `ModelLoading` or `ModelUnloaded` without signatures."""
    if status.signatures:
        return

    if status.error is not None:
        raise LoadFailed(f"{status.id.title} could not be loaded: {status.error}")

    if status.state in (ModelState.UNLOADING, ModelState.END):
        raise ModelUnloaded(f"{status.id.title} is unloaded")

    raise ModelLoading(f"{status.id.title} is {status.state}; ask again later")
