"""The settings, from flags, variables (`TANDEM_...`) and a file, in that order."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tomllib
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    TomlConfigSettingsSource,
)

from service.auth.tls import TlsFiles, load_context
from service.settings.compiler import PREFIX, CompilerSettings, Names
from service.settings.hosting import Platform, platform_settings, serves_many
from service.settings.messages import describe_error, setting_of
from service.settings.payloads import payload_place
from service.settings.quantities import (
    Memory,
    Milliseconds,
    Seconds,
    SecondsOrZero,
    Size,
)
from service.settings.traces import check_traces
from service.settings.values import (
    cache_place,
    cache_text,
    check_redis,
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MIB = 1024**2

S = TypeVar("S", bound=BaseSettings)
LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
ReadyWhen = Literal["any", "all", "always"]

# Kubernetes sets TANDEM_PORT=tcp://10.0.0.1:8501 in the pods beside a Service called
# tandem; that isn't a setting.
_KUBERNETES_LINK = re.compile(r"(tcp|udp|sctp)://")


# In place of the process' own variables, which must not be changed while threads of
# TensorFlow's may read them.
_environment: ContextVar[Mapping[str, str] | None] = ContextVar(
    "environment", default=None
)


class SettingsError(ValueError):
    """Invalid settings; the text has a line for each."""


def default_cache_dir() -> Path:
    """Return the cache folder of the XDG base directory specification."""
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification says to ignore a relative path.
    return (root if root.is_absolute() else Path.home() / ".cache") / "tandem"


def default_data_dir(models: Path) -> Path:
    """Return a folder for the jobs of these models, by the XDG specification.

    Servers of other models have folders of their own, as none may run another's jobs.
    """
    root = Path(os.environ.get("XDG_STATE_HOME", ""))
    state = root if root.is_absolute() else Path.home() / ".local/state"
    place = hashlib.sha256(os.fsencode(models.resolve())).hexdigest()[:12]
    return state / "tandem" / f"{models.resolve().name or 'models'}-{place}"


class Environment(EnvSettingsSource):
    """The environment, or another one in its place, without Kubernetes' variables."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        given = _environment.get()
        found = (
            self.env_vars
            if given is None
            # Empty ones are unset, as in the process' own.
            else {name.lower(): value for name, value in given.items() if value}
        )
        self.env_vars = {
            name: value
            for name, value in found.items()
            if not _KUBERNETES_LINK.match(value or "")
        }


class SettingsFile(TomlConfigSettingsSource):
    """The TOML file; its keys may be spelled like the flags, `log-format`."""

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        try:
            return super()._read_file(file_path)
        except tomllib.TOMLDecodeError as exc:
            raise SettingsError(f"{file_path} is not valid TOML: {exc}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{file_path} is not UTF-8 text") from None
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise SettingsError(f"{file_path} can't be read: {reason}") from None

    def __call__(self) -> dict[str, Any]:
        return {
            key.replace("-", "_"): value for key, value in super().__call__().items()
        }


class Settings(CompilerSettings):
    """The settings of one server; the descriptions are the flags' help.

    Use `load_settings`, whose errors are written for users.
    """

    models: Annotated[Path, AfterValidator(existing_path)] = Field(
        description="A model repository, a folder of model files, or one model."
    )
    model_name: Annotated[str, AfterValidator(name_of_model)] | None = Field(
        default=None,
        description="The name of the one model that PATH is, or whose versions it has, "
        "where PATH is named otherwise: a mount such as /mnt/models.",
    )
    config: FilePath | None = Field(
        default=None, description="A TOML file with settings, spelled like the flags."
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address to listen on; 0.0.0.0 is all.",
    )
    port: int = Field(
        default=8501, ge=0, le=65535, description="The port; 0 takes a free one."
    )
    workers: int = Field(
        default=1,
        ge=1,
        description="Worker processes, which share the port and the weights.",
    )
    cache_dir: Annotated[Path, AfterValidator(folder_path)] = Field(
        default_factory=default_cache_dir, description="The folder of compiled models."
    )
    cache_dir_bytes: Size | None = Field(
        default=None,
        description="Limit for the folder of compiled models, such as 20GiB: the least "
        "recently used that no server uses are removed; without it nothing is.",
    )
    data_dir: Annotated[Path, AfterValidator(folder_path)] | None = Field(
        default=None,
        description="The folder of jobs: asynchronous predictions and their results.",
    )
    metrics_dir: Annotated[Path, AfterValidator(folder_path)] | None = Field(
        default=None,
        description="A folder in which processes of one server add up their metrics; "
        "with --workers it is a temporary one.",
    )
    redis: str | None = Field(
        default=None,
        description="The URL of a Redis that keeps the jobs of several servers: "
        "redis://HOST:PORT/DATABASE.",
    )
    response_cache: Annotated[str, AfterValidator(cache_text)] | None = Field(
        default=None,
        description="Where answers are kept for models with cache_seconds: a size of "
        "memory such as 256MiB, or redis, or redis:1GiB; off without it.",
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
    memory_budget: Memory = Field(
        default=None,
        description="Memory limit for loaded models, such as 4GiB or 60%; auto (the "
        "default) is 60% of the machine's or container's memory.",
    )
    scan_seconds: SecondsOrZero = Field(
        default=2,
        description="Seconds between two scans of the repository; 0 scans once.",
    )
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
    log_format: LogFormat = Field(
        default="auto",
        description="console, json, or auto: console on a terminal, else json.",
    )
    log_level: LogLevel = Field(
        default="info", description="The lowest level that is logged."
    )
    traces: bool = Field(
        default=False,
        description="Send traces of requests and jobs by OpenTelemetry, to where the "
        "OTEL_ variables say.",
    )
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
    url: Annotated[str, AfterValidator(check_url)] | None = Field(
        default=None,
        description="The server's URL for clients; by default from host and port.",
    )
    trusted_proxies: Annotated[Names, AfterValidator(networks)] = Field(
        default=(),
        description="Addresses and networks of proxies, such as 10.0.0.0/8, whose "
        "X-Forwarded-For and X-Forwarded-Proto are believed; without it nobody's.",
    )
    root_path: Annotated[str, AfterValidator(url_prefix)] = Field(
        default="",
        description="A prefix of all URLs, such as /models, for a server behind a "
        "proxy that shares its host.",
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
    screen: bool | None = Field(
        default=None,
        description="Show the models and how to call them at start; by default on a "
        "terminal.",
    )

    @model_validator(mode="after")
    def _redis_can_be_used(self) -> Self:
        # Not the field's own check: its error would show the URL, with its password.
        if self.redis is not None:
            check_redis(self.redis)

        return self

    @model_validator(mode="after")
    def _tls_can_be_used(self) -> Self:
        if self.tls_files is not None:
            load_context(self.tls_files)

        return self

    @model_validator(mode="after")
    def _traces_can_be_sent(self) -> Self:
        if self.traces:
            check_traces(os.environ)

        return self

    @model_validator(mode="after")
    def _cache_has_a_redis(self) -> Self:
        wanted = self.response_cache is not None
        if wanted and cache_place(self.response_cache or "").redis and not self.redis:
            raise ValueError(
                f"--response-cache {self.response_cache} needs a Redis: name it with "
                "--redis, or give the cache a size of memory, such as 256MiB"
            )

        return self

    @model_validator(mode="after")
    def _one_process_has_admin_calls(self) -> Self:
        if self.admin_token_file is not None and self.workers > 1:
            raise ValueError(
                f"--admin-token-file and --workers {self.workers} exclude each other: "
                "an admin call would reach one process of several; use --workers 1, "
                "or leave out the token"
            )

        return self

    @model_validator(mode="after")
    def _one_process_loads_models(self) -> Self:
        many = self.platform == "sagemaker" and serves_many(os.environ)
        if many and self.workers > 1:
            raise ValueError(
                f"a multi-model endpoint of SageMaker and --workers {self.workers} "
                "exclude each other: a load call would reach one process of several; "
                "use --workers 1"
            )

        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        environment = Environment(settings_cls)
        path = init_settings().get("config") or environment().get("config")
        file = SettingsFile(settings_cls, toml_file=path)
        sources = (init_settings, environment, file)
        named = next(filter(None, (each().get("platform") for each in sources)), None)
        prescribed = platform_settings(named, os.environ)
        return (
            init_settings,
            environment,
            InitSettingsSource(settings_cls, prescribed),
            file,
        )

    @property
    def tls_files(self) -> TlsFiles | None:
        """The files of TLS. Raise `ValueError` if one of a pair is missing."""
        cert, key = self.tls_cert, self.tls_key
        if cert is not None and key is not None:
            return TlsFiles(cert=cert, key=key, client_ca=self.tls_client_ca)

        if cert or key or self.tls_client_ca:
            raise ValueError(
                "TLS needs both --tls-cert and --tls-key; --tls-client-ca is for "
                "clients' certificates, and needs them too"
            )

        return None

    def to_environment(self) -> dict[str, str]:
        """Return variables from which another process loads these settings.

        Unset ones are empty, so that its environment and the file add nothing.
        """
        values = self.model_dump(exclude={"config"}) | {"config": None}
        return {PREFIX + name.upper(): _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""

    if isinstance(value, tuple):
        return ",".join(map(str, value))

    return str(value).lower() if isinstance(value, bool) else str(value)


def load_settings(
    *, environ: Mapping[str, str] | None = None, **flags: Any
) -> Settings:
    """Load the settings; a flag of `None` is unset. Raise `SettingsError`.

    Variables are those of `environ`, by default the process' own.
    """
    token = _environment.set(environ)
    try:
        return _load(Settings, flags)
    finally:
        _environment.reset(token)


def find_misspelt(names: Iterable[str]) -> dict[str, str]:
    """Return the names that nearly match a variable of ours, with the match."""
    # Others with our prefix are ignored: Kubernetes sets TANDEM_SERVICE_HOST.
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    ours = (name for name in names if name.startswith(PREFIX) and name not in known)
    close = {name: difflib.get_close_matches(name, known, 1, 0.9) for name in ours}
    return {name: match[0] for name, match in close.items() if match}


def load_compiler_settings(**flags: Any) -> CompilerSettings:
    """Load the settings of compilation. Raise `SettingsError`."""
    return _load(CompilerSettings, flags)


def _load(kind: type[S], flags: Mapping[str, Any]) -> S:
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return kind(**given)
    except ValidationError as exc:
        lines = (
            describe_error(
                error,
                prefix=PREFIX,
                known=Settings.model_fields,
                file=_file_of(kind, setting_of(error), given),
            )
            for error in exc.errors()
        )
        raise SettingsError("\n".join(lines)) from None


def _file_of(
    kind: type[BaseSettings], name: str, given: Mapping[str, Any]
) -> str | None:
    """Return the path of the settings file, if a setting comes from it."""
    environment = Environment(kind)()
    path = given.get("config") or environment.get("config")
    if path is None or name in given or name in environment:
        return None

    return str(path) if name in SettingsFile(kind, toml_file=path)() else None
