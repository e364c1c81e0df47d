"""The settings, from flags, variables (`TANDEM_...`) and a file, in that order."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    TomlConfigSettingsSource,
)

from service.auth.tls import TlsFiles, load_context
from service.settings.compiler import PREFIX, CompilerSettings
from service.settings.groups import (
    AccessSettings,
    AddressSettings,
    BatchSettings,
    ConnectionSettings,
    JobSettings,
    ModelSettings,
    PayloadSettings,
    ProcessSettings,
    RequestSettings,
    TelemetrySettings,
)
from service.settings.hosting import platform_settings, serves_many
from service.settings.messages import describe_error, setting_of
from service.settings.traces import check_traces
from service.settings.values import cache_place, check_redis

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

S = TypeVar("S", bound=BaseSettings)

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


class Settings(
    CompilerSettings,
    ModelSettings,
    AddressSettings,
    ProcessSettings,
    BatchSettings,
    RequestSettings,
    ConnectionSettings,
    AccessSettings,
    JobSettings,
    TelemetrySettings,
    PayloadSettings,
):
    """The settings of one server, of all groups.

    Use `load_settings`, whose errors are written for users.
    """

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
