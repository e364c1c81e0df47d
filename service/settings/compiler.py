"""The settings of compilation, for the server and for `inspect` and `compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.settings.quantities import Memory, Seconds
from service.settings.values import comma_list, existing_folder

PREFIX = "TANDEM_"

Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_list)]
Folders = Annotated[
    tuple[Annotated[Path, AfterValidator(existing_folder)], ...],
    NoDecode,
    BeforeValidator(comma_list),
]


class CompilerSettings(BaseSettings):
    """The settings of compilation; the descriptions are the flags' help."""

    # Permissions shape the artifacts, so compiling ahead of time needs the server's.

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    allow_ops: Names = Field(
        default=(),
        description="TensorFlow operations to allow besides the safe ones: A,B.",
    )
    allow_classes: Names = Field(
        default=(),
        description="Keras classes to allow besides Keras' own: module>Name,....",
    )
    follow_links_to: Folders = Field(
        default=(),
        description="A folder besides PATH that symlinks below PATH may lead into; "
        "repeatable, or A,B.",
    )
    compile_timeout: Seconds = Field(
        default=900, description="Time limit for compiling one model, in seconds."
    )
    compile_memory: Memory = Field(
        default=None,
        description="Memory limit for compiling one model, such as 4GiB; auto (the "
        "default) is 75% of the machine's or container's memory.",
    )
