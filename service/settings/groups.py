"""The settings in the groups in which help and documents show them.

A field's description is its flag's help.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, FilePath

from service.settings.compiler import CompilerSettings, Names
from service.settings.folders import default_cache_dir
from service.settings.hosting import Platform
from service.settings.payloads import payload_place
from service.settings.quantities import (
    Memory,
    Milliseconds,
    Seconds,
    SecondsOrZero,
    Size,
)
from service.settings.values import (
    cache_text,
    check_url,
    existing_path,
    folder_path,
    keys_file,
    name_of_model,
    networks,
    readable_file,
    token_file,
    unless_auto,
    url_prefix,
    web_origins,
)

MIB = 1024**2

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
ReadyWhen = Literal["any", "all", "always"]


class ModelSettings(BaseModel):
    """The models, the memory for them and their compiled forms."""

    models: Annotated[Path, AfterValidator(existing_path)] = Field(
        description="A model repository, a folder of model files, or one model."
    )
    model_name: Annotated[str, AfterValidator(name_of_model)] | None = Field(
        default=None,
        description="The name of the one model that PATH is, or whose versions it has, "
        "where PATH is named otherwise: a mount such as /mnt/models.",
    )
    scan_seconds: SecondsOrZero = Field(
        default=2,
        description="Seconds between two scans of the repository; 0 scans once.",
    )
    memory_budget: Memory = Field(
        default=None,
        description="Memory limit for loaded models, such as 4GiB or 60%; auto (the "
        "default) is 60% of the machine's or container's memory.",
    )
    cache_dir: Annotated[Path, AfterValidator(folder_path)] = Field(
        default_factory=default_cache_dir, description="The folder of compiled models."
    )
    cache_dir_bytes: Size | None = Field(
        default=None,
        description="Limit for the folder of compiled models, such as 20GiB: the least "
        "recently used that no server uses are removed; without it nothing is.",
    )


class AddressSettings(BaseModel):
    """The address, as the server and its clients see it."""

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address to listen on; 0.0.0.0 is all.",
    )
    port: int = Field(
        default=8501, ge=0, le=65535, description="The port; 0 takes a free one."
    )
    url: Annotated[str, AfterValidator(check_url)] | None = Field(
        default=None,
        description="The server's URL for clients; by default from host and port.",
    )
    root_path: Annotated[str, AfterValidator(url_prefix)] = Field(
        default="",
        description="A prefix of all URLs, such as /models, for a server behind a "
        "proxy that shares its host.",
    )
    trusted_proxies: Annotated[Names, AfterValidator(networks)] = Field(
        default=(),
        description="Addresses and networks of proxies, such as 10.0.0.0/8, whose "
        "X-Forwarded-For and X-Forwarded-Proto are believed; without it nobody's.",
    )
    cors_origins: Annotated[Names, AfterValidator(web_origins)] = Field(
        default=(),
        description="Origins whose web pages may call the server, such as "
        "https://example.org; * is any; without it none.",
    )
    platform: Platform | None = Field(
        default=None,
        description="The hosting platform to answer: sagemaker or vertex, with its "
        "port, its probe and its predict URL.",
    )
    platform_model: str | None = Field(
        default=None,
        description="The model that the platform's predict URL asks; by default the "
        "only one.",
    )


class ProcessSettings(BaseModel):
    """The start and the end of the server, and its processes."""

    config: FilePath | None = Field(
        default=None, description="A TOML file with settings, spelled like the flags."
    )
    workers: int = Field(
        default=1,
        ge=1,
        description="Worker processes, which share the port and the weights.",
    )
    ready_when: ReadyWhen = Field(
        default="any",
        description="When /readyz is 200: any (all models have loaded or failed, and "
        "one can answer), all (every one can), or always.",
    )
    drain_delay: SecondsOrZero = Field(
        default=0,
        description="Seconds after SIGTERM in which connections are still accepted, "
        "though /readyz is 503 already.",
    )
    grace: SecondsOrZero = Field(
        default=20,
        description="Seconds that running requests may take to end when the server "
        "stops.",
    )
    screen: bool | None = Field(
        default=None,
        description="Show the models and how to call them at start; by default on a "
        "terminal.",
    )


class BatchSettings(BaseModel):
    """The calls of one model."""

    concurrency: Annotated[int | None, BeforeValidator(unless_auto)] = Field(
        default=None,
        ge=1,
        description="Calls that one model runs at a time; auto (the default) measures "
        "what is best.",
    )
    intra_op_threads: Annotated[int | None, BeforeValidator(unless_auto)] = Field(
        default=None,
        ge=1,
        description="Threads that one call may use; auto (the default) measures what "
        "is best.",
    )
    max_rows: int = Field(
        default=64, ge=1, description="Most rows in a batch; 1 turns batching off."
    )
    max_delay_ms: Milliseconds = Field(
        default=0,
        le=1000,
        description="Milliseconds that an idle model waits for more rows.",
    )
    max_queue: int = Field(
        default=256, ge=0, description="Requests that may queue for one model."
    )
    timeout: Seconds = Field(
        default=30, description="Time limit for a request, in seconds."
    )


class RequestSettings(BaseModel):
    """Limits on what a client sends and gets."""

    max_body_bytes: Size = Field(
        default=64 * MIB, description="The largest request body, in bytes."
    )
    max_inflated_bytes: Size = Field(
        default=64 * MIB,
        description="The largest compressed body once it is inflated, in bytes.",
    )
    max_inflation_ratio: int = Field(
        default=100,
        ge=1,
        description="Most bytes that a compressed body of more than 1 MiB may inflate "
        "to for each byte sent.",
    )
    max_bodies_bytes: Size = Field(
        default=512 * MIB, description="Bytes of all request bodies held at a time."
    )
    max_answer_bytes: Size = Field(
        default=256 * MIB,
        description="The largest answer to a prediction, in bytes of JSON.",
    )
    max_header_bytes: Size = Field(
        default=32 * 1024, description="The largest request line and headers, in bytes."
    )
    max_headers: int = Field(
        default=100, ge=1, description="Most headers of a request."
    )


class ConnectionSettings(BaseModel):
    """Limits on connections, and on slow clients."""

    max_connections: int = Field(
        default=10_000,
        ge=1,
        description="Most connections of a worker process; beyond them idle ones are "
        "closed, and if all are busy only probes are answered.",
    )
    keep_alive: Seconds = Field(
        default=75,
        description="Seconds that an idle connection is kept open. Longer than a proxy "
        "keeps its own, or it sends requests into closed ones.",
    )
    header_timeout: Seconds = Field(
        default=10,
        description="Seconds in which a request's headers must arrive.",
    )
    body_timeout: Seconds = Field(
        default=10,
        description="Seconds after which a body that has stalled, or arrives at less "
        "than 1 KiB/s, is refused.",
    )
    write_timeout: Seconds = Field(
        default=10,
        description="Seconds after which a client that reads its answer at less than "
        "1 KiB/s is cut off.",
    )


class AccessSettings(BaseModel):
    """Keys, tokens and certificates."""

    admin_token_file: Annotated[Path, AfterValidator(token_file)] | None = Field(
        default=None,
        description="A file with the token for the admin calls; off without it.",
    )
    api_keys_file: Annotated[Path, AfterValidator(keys_file)] | None = Field(
        default=None,
        description="A file with the hashes of API keys, which all calls then need but "
        "probes, metrics and admin calls.",
    )
    tls_cert: Annotated[Path, AfterValidator(readable_file)] | None = Field(
        default=None,
        description="A PEM file with the server's certificate and its chain: HTTPS "
        "instead of HTTP.",
    )
    tls_key: Annotated[Path, AfterValidator(readable_file)] | None = Field(
        default=None, description="A PEM file with the private key of --tls-cert."
    )
    tls_client_ca: Annotated[Path, AfterValidator(readable_file)] | None = Field(
        default=None,
        description="A PEM file with the authorities whose clients may connect (mutual "
        "TLS); without it clients need no certificate.",
    )


class JobSettings(BaseModel):
    """Jobs, the response cache, and the Redis of both."""

    redis: str | None = Field(
        default=None,
        description="The URL of a Redis that keeps the jobs of several servers: "
        "redis://HOST:PORT/DATABASE.",
    )
    data_dir: Annotated[Path, AfterValidator(folder_path)] | None = Field(
        default=None,
        description="The folder of jobs: asynchronous predictions and their results.",
    )
    job_concurrency: int = Field(
        default=1, ge=0, description="Jobs that a process runs at a time; 0 runs none."
    )
    job_queue_seconds: Seconds = Field(
        default=3600, description="Seconds that a job may wait for a server."
    )
    job_result_seconds: Seconds = Field(
        default=3600, description="Seconds that a job's result is kept."
    )
    max_jobs: int = Field(
        default=10_000, ge=1, description="Jobs that may be unfinished at a time."
    )
    max_jobs_bytes: Size = Field(
        default=4 * 1024 * MIB,
        description="Bytes of all jobs' bodies and results.",
    )
    response_cache: Annotated[str, AfterValidator(cache_text)] | None = Field(
        default=None,
        description="Where answers are kept for models with cache_seconds: a size of "
        "memory such as 256MiB, or redis, or redis:1GiB; off without it.",
    )


class TelemetrySettings(BaseModel):
    """Logs, metrics and traces."""

    log_format: LogFormat = Field(
        default="auto",
        description="console, json, or auto: console on a terminal, else json.",
    )
    log_level: LogLevel = Field(
        default="info", description="The lowest level that is logged."
    )
    metrics_dir: Annotated[Path, AfterValidator(folder_path)] | None = Field(
        default=None,
        description="A folder in which processes of one server add up their metrics; "
        "with --workers it is a temporary one.",
    )
    traces: bool = Field(
        default=False,
        description="Send traces of requests and jobs by OpenTelemetry, to where the "
        "OTEL_ variables say.",
    )


class PayloadSettings(BaseModel):
    """Predictions that are written down."""

    payload_log: Annotated[str, AfterValidator(payload_place)] | None = Field(
        default=None,
        description="A file, or a URL that takes CloudEvents, to write some "
        "predictions to with their answers; off without it.",
    )
    payload_log_share: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="The share of predictions that --payload-log takes, up to 1.",
    )
    payload_log_max_bytes: Size = Field(
        default=65536,
        description="The largest body that --payload-log keeps; of longer ones it has "
        "the length and digest.",
    )
    payload_log_redact: Names = Field(
        default=(),
        description="Inputs whose values --payload-log replaces: NAME,NAME.",
    )


GROUPS: dict[str, type[BaseModel]] = {
    "Models": ModelSettings,
    "Compilation": CompilerSettings,
    "Address": AddressSettings,
    "Processes": ProcessSettings,
    "Batches and concurrency": BatchSettings,
    "Limits on requests": RequestSettings,
    "Limits on connections": ConnectionSettings,
    "Access": AccessSettings,
    "Jobs and cached answers": JobSettings,
    "Logs, metrics and traces": TelemetrySettings,
    "Payload log": PayloadSettings,
}
