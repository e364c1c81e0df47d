"""The Open Inference Protocol v2: health, metadata, inference, and the repository.

With Triton's extensions: see `service.codecs.v2.metadata.EXTENSIONS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint
from werkzeug.exceptions import UnsupportedMediaType

from inference import InferenceError, ModelNotFound, ModelSpec, ModelState
from service.codecs.v2.metadata import (
    config_document,
    model_document,
    server_document,
)
from service.codecs.v2.repository import (
    check_load,
    check_unload,
    index_document,
    wants_ready,
)
from service.codecs.v2.request import HEAD_LENGTH, head_length
from service.codecs.v2.statistics import VersionStatistics, statistics_document
from service.infer import InferBody, check, infer
from service.jobs.job import JobRequest
from service.routes.admin import authorize, log_act
from service.routes.health import readiness
from service.routes.job_submission import current_jobs, submit
from service.routes.plain_infer import PlainInfer
from service.routes.predicting import respond
from service.routes.tfserving import check_loaded
from service.web.compression import accepted_coding, compress
from service.web.context import (
    current_application,
    current_engine,
    current_request,
    current_serving,
)
from service.web.direct import direct
from service.web.errors import answer_error
from service.web.json_body import (
    CLIENT_DEFAULTS,
    JSON,
    read_body,
    read_json_body,
)
from service.web.keys import allowed
from service.web.response import json_response
from service.web.routing import V2
from service.web.version import DISTRIBUTION, VERSION

if TYPE_CHECKING:
    from flask import Request, Response

    from service.caching.cache import CacheUse
    from service.codecs.v2.response import InferAnswer
    from service.jobs.job import Job
    from service.web.body_budget import Reservation
    from service.web.context import Serving

BINARY = "application/octet-stream"

ACTS = frozenset({"v2.load_model", "v2.unload_model"})
"""Endpoints of an operator's actions."""

bp = Blueprint("v2", __name__, url_prefix=V2)


@bp.after_request
def log_repository_act(response: Response) -> Response:
    """Log what an operator did, as for the admin calls."""
    return log_act(response) if current_request().endpoint in ACTS else response


@bp.get("")
@bp.get("/")
async def show_server() -> Response:
    return json_response(server_document(DISTRIBUTION, VERSION))


@bp.get("/health/live")
async def show_live() -> Response:
    live = current_engine().alive()
    return json_response({"live": live}, 200 if live else 503)


@bp.get("/health/ready")
async def show_ready() -> Response:
    ready = readiness()["ready"]
    return json_response({"ready": ready}, 200 if ready else 503)


@bp.get("/models")
async def list_models() -> Response:
    names = {status.id.name for status in allowed(current_engine().models())}
    return json_response({"models": sorted(names)})


@bp.get("/models/<model:name>/ready")
@bp.get("/models/<model:name>/versions/<version:version>/ready")
async def show_model_ready(name: str, version: int | None = None) -> Response:
    status = current_engine().status(ModelSpec(name=name, version=version))
    document: dict[str, Any] = {"name": name, "ready": True}
    if status.state is ModelState.AVAILABLE:
        return json_response(document)

    try:
        check_loaded(status)
        text, code = f"{status.id.title} is {status.state}", 503
    except InferenceError as exc:
        text, code, _ = answer_error(exc)

    return json_response({**document, "ready": False, "error": text}, code)


@bp.get("/models/<model:name>")
@bp.get("/models/<model:name>/versions/<version:version>")
async def show_model(name: str, version: int | None = None) -> Response:
    engine = current_engine()
    status = engine.status(ModelSpec(name=name, version=version))
    check_loaded(status)
    versions = engine.versions(name) if version is None else [status]
    return json_response(model_document(status, versions))


@bp.get("/models/<model:name>/config")
@bp.get("/models/<model:name>/versions/<version:version>/config")
async def show_config(name: str, version: int | None = None) -> Response:
    engine = current_engine()
    spec = ModelSpec(name=name, version=version)
    status = engine.status(spec)
    check_loaded(status)
    found = engine.batching(spec)
    return json_response(config_document(status, found and found[1]))


@bp.get("/models/stats")
async def show_all_statistics() -> Response:
    names = {status.id.name for status in allowed(current_engine().models())}
    return json_response(statistics_document(map(_statistics, sorted(names))))


@bp.get("/models/<model:name>/stats")
@bp.get("/models/<model:name>/versions/<version:version>/stats")
async def show_statistics(name: str, version: int | None = None) -> Response:
    return json_response(statistics_document([_statistics(name, version)]))


@bp.post("/models/<model:name>/infer")
@bp.post("/models/<model:name>/versions/<version:version>/infer")
@direct(PlainInfer.prepare)
async def infer_model(name: str, version: int | None = None) -> Response:
    return await respond(Inference(), ModelSpec(name=name, version=version))


@bp.post("/repository/index")
async def show_index() -> Response:
    ready = wants_ready(_small_body())
    models = allowed(current_engine().models())
    return json_response(index_document(models, ready=ready))


@bp.post("/repository/models/<model:name>/load")
async def load_model(name: str) -> Response:
    """Load a model, from files that have just arrived too; needs the admin token."""
    await authorize()
    check_load(_small_body())
    engine, spec = current_engine(), ModelSpec(name=name)
    try:
        await engine.load(spec)
    except ModelNotFound:
        await engine.rescan()
        await engine.load(spec)

    return json_response({"name": name, "load": True})


@bp.post("/repository/models/<model:name>/unload")
async def unload_model(name: str) -> Response:
    await authorize()
    check_unload(_small_body())
    await current_engine().unload(ModelSpec(name=name))
    return json_response({"name": name, "unload": True})


def _statistics(name: str, version: int | None = None) -> list[VersionStatistics]:
    serving = current_serving()
    engine, cache = serving.engine, serving.cache
    found = engine.statistics(name, version)
    return [
        VersionStatistics(
            status=engine.status(ModelSpec(name=name, version=model.version)),
            counted=counted,
            lookups=None if cache is None else cache.lookups(model),
        )
        for model, counted in found.items()
    ]


class Inference:
    """The `Front` of inference requests."""

    async def accept_large(self, this: Request, spec: ModelSpec) -> Job | None:
        """Return `None`: the protocol has no rows of large work."""

    def read(self, this: Request, reservation: Reservation) -> InferBody:
        check_type(this)
        pieces = read_body(this, reservation)
        size = sum(map(len, pieces))
        return InferBody(pieces, head_length(this.headers.get(HEAD_LENGTH), size))

    async def accept(self, this: Request, spec: ModelSpec, body: InferBody) -> Job:
        serving = current_serving()
        # Without a store of jobs, nothing is to be checked.
        current_jobs()
        signature = await check(serving.engine, spec, body, serving.decoders)
        headers = {"content-type": JSON}
        if body.head is not None:
            headers = {
                "content-type": BINARY,
                HEAD_LENGTH.lower(): str(body.head),
            }

        request = JobRequest(
            path=this.path, headers=headers, body=b"".join(body.pieces)
        )
        return await submit(this, spec, signature, request)

    async def predict(
        self,
        serving: Serving,
        spec: ModelSpec,
        body: InferBody,
        wait: float | None,
        cached: CacheUse | None,
    ) -> Response:
        answer = await infer(
            serving.engine,
            spec,
            body,
            serving.decoders,
            wait=wait,
            cached=cached,
            max_bytes=serving.max_answer_bytes,
        )
        response = infer_response(answer)
        this = current_request()
        if "HTTP_ACCEPT_ENCODING" not in this.environ:
            return response

        response.headers["Vary"] = "Accept-Encoding"
        coding = accepted_coding(this)
        if coding is not None:
            await compress(response, answer.pieces, coding, serving.rows_limiter)

        return response


def infer_response(answer: InferAnswer) -> Response:
    """Return the response of an answer, with the length of its JSON before data."""
    response = current_application().response_class(
        answer.pieces, content_type=JSON if answer.head is None else BINARY
    )
    if answer.head is not None:
        response.headers[HEAD_LENGTH] = str(answer.head)

    return response


def check_type(this: Request) -> None:
    """Raise `UnsupportedMediaType` unless the body may be JSON or binary data."""
    if this.mimetype in CLIENT_DEFAULTS or this.mimetype == BINARY or this.is_json:
        return

    raise UnsupportedMediaType(
        f"the body is of type {this.mimetype!r}: send JSON, with the header"
        " 'Content-Type: application/json', or JSON and binary data, with"
        f" 'Content-Type: {BINARY}' and the length of the JSON in '{HEAD_LENGTH}'"
    )


def _small_body() -> bytes:
    with current_serving().body_budget.reservation() as reservation:
        return b"".join(read_json_body(current_request(), reservation))
