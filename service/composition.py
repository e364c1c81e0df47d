"""The server process, composed: settings → engine → Flask application → bridge."""

from __future__ import annotations

import dataclasses
import gc
import multiprocessing
import os
import sys
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog

from inference import (
    Batching,
    Engine,
    EngineConfig,
    Limits,
    ModelNotFound,
    keep_freed_memory,
)
from service.app import create_app
from service.bridge.bridge import Bridge
from service.caching.cache import ResponseCache
from service.caching.memory import MemoryStore
from service.decoding.pool import DecoderPool
from service.jobs.bounds import Bounds
from service.jobs.calls import call
from service.jobs.jobs import Jobs, JobsConfig
from service.jobs.large import Calls, Chunks
from service.jobs.runner import JobRunner, RunnerConfig
from service.jobs.sqlite import SqliteStore
from service.payloads.log import PayloadLog
from service.payloads.sinks import open_sink
from service.payloads.tap import PayloadTap, TapConfig
from service.routes.array_calls import ArrayCalls
from service.routes.job_events import JobEvents
from service.routes.metrics import published
from service.routes.overview import FEED
from service.routes.overview_events import OverviewEvents
from service.routes.sagemaker import sagemaker_routes
from service.settings.folders import default_data_dir
from service.settings.hosting import serves_many
from service.settings.permissions import permissions_of
from service.settings.rereading import adopting
from service.settings.settings import find_misspelt
from service.settings.values import cache_place
from service.telemetry.logs import configure_logging
from service.telemetry.sharing import FigureFolder
from service.terminal.screen import is_wanted, show
from service.web.context import SERVING
from service.web.cors import CrossOrigin
from service.web.hosting import Hosted, default_model, sagemaker, vertex
from service.web.keys import trusted
from service.web.proxies import behind_proxies
from service.web.root_path import RootPath
from service.web.routes import Routes
from service.web.runtime_settings import RUNTIME_SETTINGS
from service.web.version import VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from flask import Blueprint

    from service.dashboard.feed import Feed
    from service.jobs.runner import Answer
    from service.jobs.store import JobStore
    from service.settings.settings import Settings
    from service.tracing.provider import Tracing
    from service.web.application import ConcurrentFlask
    from service.web.context import Serving
    from service.web.cors import Application
    from service.web.hosting import Target
    from service.web.runtime_settings import RuntimeSettings

log = structlog.get_logger("tandem.settings")

# How long a thread that returns from TensorFlow waits for a busy event loop to release
# the interpreter's lock. With Python's default of 5 ms, the p99 of a light model beside
# a heavy one was 7 ms instead of 6, that of a small one at 32 connections 120 ms
# instead of 70; throughput was the same.
SWITCH_SECONDS = 0.0005

# New containers between two garbage collections. Each of those looks at the requests
# under way for nothing, since they are freed without it: with Python's 700, 5 % of a
# small request.
NEW_CONTAINERS = 10_000

# multiprocessing's names for the only server process, and for the first of several.
FIRST_PROCESSES = ("MainProcess", "SpawnProcess-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The foundations of a server process' application."""

    engine: Engine
    decoders: DecoderPool
    jobs: Jobs
    cache: ResponseCache | None
    payloads: PayloadLog | None
    tracing: Tracing | None

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        with self.tracing or nullcontext(), self.payloads or nullcontext():
            async with (
                self.engine,
                self.decoders,
                self.jobs,
                self.cache or nullcontext(),
            ):
                yield


def open_parts(settings: Settings) -> Parts:
    """Return the parts, to be entered when the server starts."""
    return Parts(
        tracing=open_tracing(settings),
        engine=Engine(engine_config(settings)),
        decoders=DecoderPool(),
        jobs=Jobs(partial(open_store, settings), jobs_config(settings)),
        cache=response_cache(settings),
        payloads=open_payload_log(settings),
    )


def compose(settings: Settings, *blueprints: Blueprint) -> Application:
    """Return the ASGI application of one server process; it runs the engine.

    `blueprints` are routes of an application of the caller's own beside ours.
    """
    configure_logging(settings.log_format, settings.log_level)
    keep_freed_memory()
    if _is_first():
        _warn_of_variables()

    parts = open_parts(settings)
    app = application_of(parts, settings, blueprints)
    feed: Feed = app.extensions[FEED]
    bridge = Bridge(app, lambda: running(parts, app, settings, runner))
    tap = partial(tapped, payloads=parts.payloads, app=app, settings=settings)
    runner = JobRunner(
        parts.jobs,
        Calls(
            json=partial(call, tap(trusted(bridge))),
            busy=partial(busy_models, parts.engine),
            arrays=ArrayCalls(app, parts.engine),
        ),
        runner_config(settings),
        traced_runs(parts.tracing),
    )
    reads = OverviewEvents(bridge, feed)
    application = tap(JobEvents(bridge, parts.jobs, reads=reads))
    if parts.tracing is not None:
        application = traced_requests(application, parts.tracing, app)

    return surrounded(application, settings, parts.engine)


def application_of(
    parts: Parts, settings: Settings, blueprints: Iterable[Blueprint]
) -> ConcurrentFlask:
    """Return the Flask application with all its routes."""
    shared = settings.metrics_dir
    app = create_app(
        parts.engine,
        settings,
        parts.decoders,
        parts.jobs,
        parts.cache,
        None if shared is None else FigureFolder(shared),
        parts.payloads,
    )
    if settings.platform == "sagemaker" and serves_many(os.environ):
        routes = sagemaker_routes(settings.models, settings.follow_links_to)
        app.register_blueprint(routes)

    for blueprint in blueprints:
        app.register_blueprint(blueprint)

    return app


@asynccontextmanager
async def running(
    parts: Parts, app: ConcurrentFlask, settings: Settings, runner: JobRunner
) -> AsyncIterator[None]:
    """Run the parts, and what works in the background, while requests are served."""
    feed: Feed = app.extensions[FEED]
    runtime: RuntimeSettings = app.extensions[RUNTIME_SETTINGS]
    async with parts.entered(), anyio.create_task_group() as tasks:
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.set_threshold(NEW_CONTAINERS)
        tasks.start_soon(runner.run)
        tasks.start_soon(feed.run)
        if app.keys is not None:
            tasks.start_soon(app.keys.watch)

        if is_wanted(settings) and _is_first():
            tasks.start_soon(show, parts.engine, settings)

        async with published(app.extensions[SERVING]):
            with adopting(runtime.adopt):
                yield

        tasks.cancel_scope.cancel()


def open_payload_log(settings: Settings) -> PayloadLog | None:
    """Return what writes predictions down, if that is wanted."""
    place = settings.payload_log
    if place is None:
        return None

    return PayloadLog(open_sink(place), settings.payload_log_max_bytes)


def tapped(
    application: Application,
    payloads: PayloadLog | None,
    app: ConcurrentFlask,
    settings: Settings,
) -> Application:
    """Return `application`, some of whose predictions go to the payload log."""
    if payloads is None:
        return application

    serving: Serving = app.extensions[SERVING]
    config = TapConfig(
        share=settings.payload_log_share,
        max_bytes=settings.payload_log_max_bytes,
        redact=frozenset(settings.payload_log_redact),
        find=Routes(app).find,
        inputs=partial(input_names, serving.engine),
    )
    return PayloadTap(application, payloads, config)


def input_names(engine: Engine, model: str) -> set[str]:
    """Return the names of a model's inputs, none if they aren't known."""
    try:
        versions = engine.versions(model)
    except ModelNotFound:
        return set()

    signatures = [sig for each in versions for sig in each.signatures.values()]
    return {name for signature in signatures for name in signature.inputs}


def open_tracing(settings: Settings) -> Tracing | None:
    """Return what sends traces, if they are wanted."""
    if not settings.traces:
        return None

    # Its packages are an extra of ours.
    from service.tracing.provider import Tracing

    return Tracing(VERSION)


def traced_requests(
    application: Application, tracing: Tracing, app: ConcurrentFlask
) -> Application:
    """Return `application` with a span around each request."""
    from service.tracing.requests import TracedRequests

    return TracedRequests(application, tracing.tracer, Routes(app).find)


def traced_runs(tracing: Tracing | None) -> Callable[[Answer], Answer] | None:
    """Return what puts a span around each run of a job, if traces are wanted."""
    if tracing is None:
        return None

    from service.tracing.jobs import traced_runs

    return partial(traced_runs, tracing.tracer)


def surrounded(
    application: Application, settings: Settings, engine: Engine
) -> Application:
    """Return `application` within what settings want between it and its clients."""
    if settings.trusted_proxies:
        application = behind_proxies(application, settings.trusted_proxies)

    if settings.platform is not None:
        application = Hosted(application, platform_target(settings, engine))

    if settings.root_path:
        application = RootPath(application, settings.root_path)

    if settings.cors_origins:
        application = CrossOrigin(application, settings.cors_origins)

    return application


def platform_target(settings: Settings, engine: Engine) -> Target:
    """Return what finds the path of ours for a URL of the platform's."""
    model = default_model(engine, settings.platform_model)
    if settings.platform == "sagemaker":
        return sagemaker(model)

    return vertex(model, os.environ)


def open_store(settings: Settings) -> AbstractAsyncContextManager[JobStore]:
    bounds = Bounds(jobs=settings.max_jobs, nbytes=settings.max_jobs_bytes)

    if settings.redis is not None:
        # Its package is an extra of ours.
        from service.jobs.redis import RedisStore

        return RedisStore(settings.redis, bounds)

    return SqliteStore(data_dir(settings), bounds)


def data_dir(settings: Settings) -> Path:
    return settings.data_dir or default_data_dir(settings.models)


def response_cache(settings: Settings) -> ResponseCache | None:
    """Return the cache of answers, if there is to be one.

    In memory each of several processes has its part of the bytes.
    """
    if settings.response_cache is None:
        return None

    place = cache_place(settings.response_cache)

    if not place.redis:
        return ResponseCache(MemoryStore(place.nbytes // settings.workers))

    # Its package is an extra of ours.
    from service.caching.redis import RedisStore

    assert settings.redis is not None, "the settings check it"
    return ResponseCache(RedisStore(settings.redis, place.nbytes))


def jobs_config(settings: Settings) -> JobsConfig:
    return JobsConfig(
        queue_seconds=settings.job_queue_seconds,
        result_seconds=settings.job_result_seconds,
        body_bytes=settings.max_jobs_bytes,
        # Where the jobs are; with Redis a server may have no folder of its own.
        scratch=None if settings.redis else data_dir(settings),
    )


def runner_config(settings: Settings) -> RunnerConfig:
    chunks = Chunks(rows=settings.max_rows, row_bytes=settings.max_body_bytes)
    return RunnerConfig(concurrency=settings.job_concurrency, chunks=chunks)


def busy_models(engine: Engine) -> list[str]:
    """Return the models whose synchronous requests wait: jobs give way to those."""
    return [each.id.name for each in engine.models() if each.queue.waiting]


def engine_config(settings: Settings) -> EngineConfig:
    """Return the engine's configuration; several processes share the memory budget."""
    config = EngineConfig(
        repository=settings.models,
        model_name=settings.model_name,
        cache=settings.cache_dir,
        limits=Limits(
            concurrency=settings.concurrency,
            intra_op_threads=settings.intra_op_threads,
            max_queue=settings.max_queue,
            timeout_seconds=settings.timeout,
            batching=Batching(
                max_rows=settings.max_rows,
                max_delay_seconds=settings.max_delay_ms / 1000,
            ),
        ),
        compile_timeout_seconds=settings.compile_timeout,
        compile_memory=settings.compile_memory,
        cache_bytes=settings.cache_dir_bytes,
        permissions=permissions_of(settings),
        memory_budget=settings.memory_budget,
        scan_seconds=settings.scan_seconds,
    )
    part = max(1, config.budget // settings.workers)
    return dataclasses.replace(config, memory_budget=part)


def _warn_of_variables() -> None:
    for name, meant in find_misspelt(os.environ).items():
        log.warning("unknown variable", variable=name, meant=meant)


def _is_first() -> bool:
    """Return whether this is the one worker that reports for all."""
    return multiprocessing.current_process().name in FIRST_PROCESSES
