"""`tandem predict` in this process: no server, one model."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from inference import (
    EngineConfig,
    InferenceError,
    Limits,
    open_model,
)
from service.bulk.checkpoint import Checkpoint
from service.bulk.images import ImageFiles
from service.bulk.run import BulkRun, Progress, TooManyFailed
from service.bulk.sinks import ArraySink, LineSink
from service.bulk.sources import ArchiveFile, ArrayFile, Lines
from service.cli.admin import REFUSED, CommandFailed, is_number
from service.cli.output import list_failed
from service.jobs.rows import BadRows
from service.settings.folders import default_cache_dir
from service.settings.permissions import permissions_of
from service.settings.settings import load_compiler_settings
from service.telemetry.logs import configure_logging
from service.terminal.bar import bar
from service.terminal.report import progress as stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from inference import OfflineModel, Signature
    from service.bulk.sinks import Sink
    from service.bulk.sources import Source

INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineCall:
    """A command line: rows of `source` into `target`, each `None` a standard stream.

    `model` is a path, or a name in the folder `models`. A call of some rows has
    `timeout` seconds. `compiler` are settings.
    """

    model: str
    models: Path | None
    source: Path | ImageFiles | None
    target: Path | None
    signature: str | None
    timeout: float
    cache: Path | None
    compiler: Mapping[str, Any]


def predict_offline(call: OfflineCall) -> Progress:
    """Load the model, send all rows through it; return how that went.

    Raise `CommandFailed`, and `ValueError` for a mistake in the command line.
    """
    configure_logging("auto", "warning")

    with errors_explained(call.target), opened(call) as model:
        signature = model.signature(call.signature)
        source = source_of(call.source)

        if call.target is None:
            return _print(model, signature, source)

        return _write(model, signature, source, call)


def source_of(path: Path | ImageFiles | None) -> Source:
    """Raise `BadRows` for an array that can't be read."""
    if isinstance(path, ImageFiles):
        return path

    if path is not None and path.suffix == ".npy":
        return ArrayFile(path)

    if path is not None and path.suffix == ".npz":
        return ArchiveFile(path)

    return Lines(path)


def _print(model: OfflineModel, signature: Signature, source: Source) -> Progress:
    progress = Progress()
    sink = LineSink(sys.stdout.buffer.write)
    _run(model, signature, source, sink, progress, lambda: None)
    return progress


def _write(
    model: OfflineModel, signature: Signature, source: Source, call: OfflineCall
) -> Progress:
    assert call.target is not None, "otherwise it is printed"
    checkpoint = Checkpoint(call.target, _key(model, signature, call.source))
    progress = checkpoint.progress

    try:
        with checkpoint.opened() as file:
            array = call.target.suffix == ".npy"
            early = checkpoint.mark.early
            sink = ArraySink(file, early) if array else LineSink(file.write)

            def written() -> None:
                failed = sink.early if isinstance(sink, ArraySink) else 0
                checkpoint.note(file, progress, failed)

            _run(model, signature, source, sink, progress, written)
    except KeyboardInterrupt:
        kept = call.source is not None
        raise CommandFailed(
            f"interrupted after {progress.rows} rows"
            + "; run the same command to go on from there" * kept,
            INTERRUPTED,
        ) from None
    except (BadRows, TooManyFailed) as exc:
        checkpoint.discard()
        if isinstance(exc, BadRows):
            list_failed(progress.failed)

        raise

    return progress


def _run(
    model: OfflineModel,
    signature: Signature,
    source: Source,
    sink: Sink,
    progress: Progress,
    written: Callable[[], object],
) -> None:
    with bar("predicting", "rows", source.total) as show:

        def after() -> None:
            written()
            show(progress.rows)

        BulkRun(
            model=model,
            signature=signature,
            source=source,
            sink=sink,
            progress=progress,
            written=after,
        ).run()


def _key(
    model: OfflineModel, signature: Signature, source: Path | ImageFiles | None
) -> str:
    """Name the work: the model's content, the signature, and the files as they are."""
    if source is None:
        # Nobody knows whether the same rows come again.
        return os.urandom(16).hex()

    files = source if isinstance(source, ImageFiles) else ImageFiles((source,))
    parts = (model.key, signature.name, files.state())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@contextmanager
def opened(call: OfflineCall) -> Iterator[OfflineModel]:
    """Compile the model if needed, and load it. Raise `InferenceError`, `OSError`."""
    repository, name, version = located(call.model, call.models)
    settings = load_compiler_settings(**call.compiler)
    config = EngineConfig(
        repository=repository,
        cache=call.cache or default_cache_dir(),
        limits=Limits(timeout_seconds=call.timeout),
        compile_timeout_seconds=settings.compile_timeout,
        compile_memory=settings.compile_memory,
        permissions=permissions_of(settings),
        scan_seconds=0,
    )

    with stages() as report:
        model = anyio.run(partial(open_model, config, name, version, report=report))

    with model:
        yield model


def located(model: str, models: Path | None) -> tuple[Path, str | None, int | None]:
    """Return a repository, and the name and version of a model in it.

    Raise `ValueError`.
    """
    if models is None:
        path = Path(model)

        if not path.exists():
            raise ValueError(
                f"there is no file or folder {model!r}: name a model's file, or give"
                " the folder of a model's name with --models, or a --server"
            )

        return Path(os.path.abspath(path)), None, None

    name, slash, version = model.partition("/")

    if slash and not is_number(version):
        raise ValueError(f"{model!r} is neither MODEL nor MODEL/VERSION")

    return Path(os.path.abspath(models)), name, int(version) if slash else None


@contextmanager
def errors_explained(target: Path | None) -> Iterator[None]:
    """Turn what may go wrong into `CommandFailed`."""
    try:
        yield
    except (InferenceError, BadRows, TooManyFailed) as exc:
        raise CommandFailed(str(exc), REFUSED) from None
    except OSError as exc:
        place = exc.filename or target or "the output"
        raise CommandFailed(f"can't use {place}: {exc.strerror}", REFUSED) from None
