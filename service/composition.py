"""Puts the parts together: settings → engine → Flask application → bridge."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import structlog

from inference import (
    Batching,
    Engine,
    EngineConfig,
    Limits,
    Permissions,
    keep_freed_memory,
)
from service.app import create_app
from service.bridge.bridge import Bridge
from service.decoding.pool import DecoderPool
from service.settings.settings import find_misspelt
from service.telemetry.logs import configure_logging
from service.terminal.screen import is_wanted, show

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.settings.settings import Settings

log = structlog.get_logger("tandem.settings")

# How long a thread that comes back from TensorFlow waits for a busy event loop to let
# it run Python. With Python's own 5 ms the p99 of a light model beside a heavy one
# was 7 ms in place of 6, and that of a small one at 32 connections 120 in place of
# 70; throughput was the same.
SWITCH_SECONDS = 0.0005

# What multiprocessing calls the process that serves alone, and the first of several.
FIRST_PROCESSES = ("MainProcess", "SpawnProcess-1")


def compose(settings: Settings) -> Bridge:
    """The ASGI application of one server process; its lifespan is the engine's."""
    configure_logging(settings.log_format, settings.log_level)
    keep_freed_memory()
    if _is_first():
        _warn_of_variables()

    engine = Engine(engine_config(settings))
    decoders = DecoderPool()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with engine, decoders, anyio.create_task_group() as tasks:
            sys.setswitchinterval(SWITCH_SECONDS)
            if is_wanted(settings) and _is_first():
                tasks.start_soon(show, engine, settings)

            yield
            tasks.cancel_scope.cancel()

    return Bridge(create_app(engine, settings, decoders), lifespan)


def engine_config(settings: Settings) -> EngineConfig:
    """What the engine of one process is made with: each of several has its part."""
    config = EngineConfig(
        repository=settings.models,
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
        permissions=Permissions(
            allow_ops=settings.allow_ops,
            allow_classes=settings.allow_classes,
            follow_links_to=settings.follow_links_to,
        ),
        memory_budget=settings.memory_budget,
        scan_seconds=settings.scan_seconds,
    )
    part = max(1, config.budget // settings.workers)
    return dataclasses.replace(config, memory_budget=part)


def _warn_of_variables() -> None:
    for name, meant in find_misspelt(os.environ).items():
        log.warning("unknown variable", variable=name, meant=meant)


def _is_first() -> bool:
    """One of several workers speaks for all."""
    return multiprocessing.current_process().name in FIRST_PROCESSES
