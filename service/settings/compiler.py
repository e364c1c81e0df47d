"""What a server and the commands that compile without one are both told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.settings.values import byte_size, comma_list, existing_folder

PREFIX = "TANDEM_"

Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(comma_list)]
Folders = Annotated[
    tuple[Annotated[Path, AfterValidator(existing_folder)], ...],
    NoDecode,
    BeforeValidator(comma_list),
]


class CompilerSettings(BaseSettings):
    """The settings of compiling; the descriptions are the help of the flags.

    What is allowed shapes the artifacts, so that whoever compiles ahead of time must
    be told the same as the server.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    allow_ops: Names = Field(
        default=(),
        description="TensorFlow operations to allow beyond the safe ones: A,B.",
    )
    allow_classes: Names = Field(
        default=(),
        description="Keras classes to allow beyond Keras' own: module>Name,....",
    )
    follow_links_to: Folders = Field(
        default=(),
        description="A folder that symlinks below PATH may lead into, besides PATH "
        "itself; may be given again: A,B.",
    )
    compile_timeout: float = Field(
        default=900, gt=0, description="Seconds that compiling one model may take."
    )
    compile_memory: Annotated[ByteSize | None, BeforeValidator(byte_size)] = Field(
        default=None,
        ge=1,
        description="Memory that compiling one model may take, 4GiB; auto, the "
        "default: 75 % of what the machine or container has.",
    )
