"""The documents that the page shows: all models over time, and one in depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from flask import Blueprint

from inference import ModelSpec
from service.dashboard.feed import Feed
from service.dashboard.overview import ActiveJobs, State
from service.dashboard.readings import Reading
from service.dashboard.report import report_document
from service.jobs.job import JobStatus
from service.jobs.store import StoreUnavailable
from service.routes.job_events import EVENT_STREAM
from service.routes.metrics import take_snapshot
from service.telemetry.figures import of_models
from service.telemetry.sharing import FiguresUnreadable
from service.web.compression import accepted_coding, compress
from service.web.context import (
    SERVING,
    current_application,
    current_engine,
    current_request,
    current_serving,
)
from service.web.keys import check_all_models
from service.web.response import encoded_json_response, json_response
from service.web.version import VERSION

if TYPE_CHECKING:
    from flask import Flask, Response

    from service.jobs.jobs import Jobs
    from service.telemetry.figures import Figures
    from service.telemetry.metrics import Snapshot
    from service.telemetry.sharing import FigureFolder
    from service.web.context import Serving

FEED = "feed"
MOST_JOBS = 20

bp = Blueprint("overview", __name__)


def install_feed(app: Flask) -> None:
    """Add the page's data to the application; whoever runs it runs `Feed.run` too."""
    serving: Serving = app.extensions[SERVING]

    async def read() -> State:
        return await read_state(serving)

    app.extensions[FEED] = Feed(read)


def current_feed() -> Feed:
    feed: Feed = current_application().extensions[FEED]
    return feed


@bp.get("/v1/overview")
async def show_overview() -> Response:
    check_all_models()
    text = await current_feed().whole()
    response = encoded_json_response(text)
    response.headers["Cache-Control"] = "no-store"
    coding = accepted_coding(current_request())
    if coding is not None:
        limiter = current_serving().metrics_limiter
        await compress(response, [text], coding, limiter)

    return response


@bp.get("/v1/overview/events")
async def show_events() -> Response:
    """Answer with the head of a stream; `OverviewEvents` sends the events."""
    check_all_models()
    response = encoded_json_response(b"")
    response.content_type = EVENT_STREAM
    response.headers["Cache-Control"] = "no-store"
    # nginx would keep the events until its buffer is full.
    response.headers["X-Accel-Buffering"] = "no"
    return response


@bp.get("/v1/models/<model:name>/report")
@bp.get("/v1/models/<model:name>/versions/<version:version>/report")
@bp.get("/v1/models/<model:name>/labels/<label:label>/report")
async def show_report(
    name: str, version: int | None = None, label: str | None = None
) -> Response:
    spec = ModelSpec(name=name, version=version, label=label)
    engine = current_engine()
    return json_response(report_document(engine.status(spec), engine.report(spec)))


async def read_state(serving: Serving) -> State:
    """Return what the page is made of; its rates are those of all processes."""
    engine = serving.engine
    snapshot, at = await take_snapshot(serving), anyio.current_time()

    def read() -> Reading:
        return Reading.of(_figures(snapshot, serving.figure_folder), at)

    return State(
        models=snapshot.models,
        engine=snapshot.overview,
        # In a thread: that of hundreds of models takes milliseconds.
        reading=await anyio.to_thread.run_sync(read, limiter=serving.metrics_limiter),
        problems=engine.problems(),
        jobs=None if serving.jobs is None else await _jobs(serving.jobs),
        version=VERSION,
        admin=serving.admin_token is not None,
    )


def _figures(snapshot: Snapshot, folder: FigureFolder | None) -> Figures:
    if folder is None:
        return snapshot.brief()

    own = snapshot.figures()
    names = {(each.id.name, str(each.id.version)) for each in snapshot.models}
    try:
        return of_models(folder.total(own), names)
    except FiguresUnreadable:
        # Metrics tell of it; one process' figures are better than none.
        return own


async def _jobs(jobs: Jobs) -> ActiveJobs | None:
    try:
        store = await jobs.store()
        counts = await store.counts()
        active = [
            job
            for status in (JobStatus.RUNNING, JobStatus.QUEUED)
            if counts.get(status)
            for job in await store.page(status=status, limit=MOST_JOBS)
        ]
    except StoreUnavailable:
        return None

    by_status = {str(status): count for status, count in counts.items()}
    return ActiveJobs(counts=by_status, newest=active[:MOST_JOBS])
