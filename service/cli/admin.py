"""The commands for a running server: `tandem models`, `tandem load`, …"""

from __future__ import annotations

import functools
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from service.auth.token import check_token, read_token
from service.cli.client import AdminClient, CallFailed, Certificate, Unreachable
from service.cli.flags import duration
from service.terminal.tables import print_models, print_problems, printable
from service.web.routing import ADMIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DEFAULT_SERVER = "http://127.0.0.1:8501"
TOKEN_FILE_VARIABLE = "TANDEM_ADMIN_TOKEN_FILE"
TOKEN_VARIABLE = "TANDEM_ADMIN_TOKEN"
API_KEY_VARIABLE = "TANDEM_API_KEY"
CERT_VARIABLE, KEY_VARIABLE = "TANDEM_CLIENT_CERT", "TANDEM_CLIENT_KEY"
MODELS = "/v1/models"

REFUSED = 1
UNREACHABLE = 3
FAILED = 6
EXIT_CODES: Mapping[int, int] = {401: 4, 404: 5, 503: FAILED}
"""Exit codes by HTTP status; `REFUSED` for others, 2 for a wrong command line."""


class CommandFailed(click.ClickException):
    """An error with a line for standard error and an exit code for scripts."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(printable(text))
        self.exit_code = exit_code  # type: ignore[misc]


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Turn errors of a call into `CommandFailed` or `click.UsageError`."""
    try:
        yield
    except CallFailed as exc:
        raise CommandFailed(str(exc), EXIT_CODES.get(exc.status, REFUSED)) from None
    except Unreachable as exc:
        raise CommandFailed(str(exc), UNREACHABLE) from None
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None


def find_token(file: Path | None) -> str:
    """Return the token in `file`, or the one that a variable names or holds.

    Raise `ValueError` if there is none, or none that a server would accept.
    """
    named = file or os.environ.get(TOKEN_FILE_VARIABLE)
    if named:
        return read_token(Path(named)).decode()

    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise ValueError(
            "this needs the server's token, that of its --admin-token-file: give "
            f"--token-file FILE, or set {TOKEN_FILE_VARIABLE} or {TOKEN_VARIABLE}"
        )

    check_token(token.encode(), TOKEN_VARIABLE)
    return token


def find_api_key() -> str | None:
    """Return the API key that a variable holds. Raise `ValueError` for no usable one.

    Not an option: other users of the machine can read a command line.
    """
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not key:
        return None

    check_token(key.encode(), API_KEY_VARIABLE)
    return key


def find_certificate() -> Certificate | None:
    """Return the certificate for mutual TLS that variables name, if any."""
    cert = os.environ.get(CERT_VARIABLE)
    return Certificate(cert=cert, key=os.environ.get(KEY_VARIABLE)) if cert else None


def client_command(
    *, token: bool, prints: bool = True
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of a function that takes a client and the options of a call.

    A command that `prints` an answer takes `--json`.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(
            server: str, timeout: float, token_file: Path | None = None, **rest: Any
        ) -> None:
            with errors_as_messages():
                found = find_token(token_file) if token else None
                client = AdminClient(
                    url=server,
                    token=found,
                    api_key=find_api_key(),
                    certificate=find_certificate(),
                    timeout=timeout,
                )
                function(client, **rest)

        options = [*CALL_OPTIONS, *[JSON_OPTION] * prints, *[TOKEN_OPTION] * token]

        for option in reversed(options):
            run = option(run)

        return click.command()(run)

    return decorate


CALL_OPTIONS = (
    click.option(
        "--server",
        envvar="TANDEM_SERVER",
        default=DEFAULT_SERVER,
        show_default=True,
        metavar="URL",
        help="The server's URL. [TANDEM_SERVER]",
    ),
    click.option(
        "--timeout",
        callback=duration,
        metavar="SECONDS",
        default="600",
        show_default=True,
        help="Seconds to wait for the answer.",
    ),
)
JSON_OPTION = click.option("--json", "for_machines", is_flag=True, help="Print JSON.")
TOKEN_OPTION = click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="A file with the server's token. Without it, "
    f"{TOKEN_FILE_VARIABLE} names the file, or {TOKEN_VARIABLE} holds the token.",
)


def model_url(target: str) -> str:
    """Return the admin URL of `NAME` or `NAME/VERSION`. Raise `ValueError`."""
    name, slash, version = target.partition("/")
    url = f"{ADMIN}/models/{quote(name, safe='')}"
    if not slash:
        return url

    if not is_number(version):
        raise ValueError(f"{target!r} is neither NAME nor NAME/VERSION")

    return f"{url}/versions/{version}"


def parse_labels(texts: tuple[str, ...]) -> dict[str, int | None]:
    """Return `stable=3` and `canary=-` as a request body. Raise `ValueError`."""
    labels: dict[str, int | None] = {}
    for text in texts:
        label, _, version = text.partition("=")
        if not label or not (version == "-" or is_number(version)):
            raise ValueError(f"{text!r} is neither LABEL=VERSION nor LABEL=-")

        labels[label] = None if version == "-" else int(version)

    return labels


def is_number(text: str) -> bool:
    """Return whether a server takes `text` as a version: it has no leading zeros."""
    digits = text.isascii() and text.isdecimal() and len(text) < 20
    return digits and (text == "0" or not text.startswith("0"))


def show(document: dict[str, Any], for_machines: bool) -> None:
    """Print an answer: a model's entry, or a list of them under `models`."""
    if for_machines:
        click.echo(json.dumps(document, indent=2))
        return

    entries = document.get("models", [document])
    if not all("versions" in entry for entry in entries):
        raise Unreachable(
            "the answer isn't that of a Tandem server: it has no versions"
        )

    print_models(entries)
    print_problems(document.get("problems", ()))
    if document.get("repository_error"):
        error = document["repository_error"]
        print_problems([f"the model repository can't be read: {error}"])


@client_command(token=False)
def models(client: AdminClient, for_machines: bool) -> None:
    """List the models of a running server."""
    show(client.call("GET", MODELS), for_machines)


@click.argument("target", metavar="NAME[/VERSION]")
def load(client: AdminClient, target: str, for_machines: bool) -> None:
    """Load an unloaded or failed model and wait until it serves."""
    show(client.call("POST", f"{model_url(target)}/load"), for_machines)


@click.argument("target", metavar="NAME[/VERSION]")
def unload(client: AdminClient, target: str, for_machines: bool) -> None:
    """Unload a model until somebody loads it again.

    In-flight requests complete, later ones get 503.
    """
    show(client.call("POST", f"{model_url(target)}/unload"), for_machines)


@click.argument("name")
@click.argument("labels", nargs=-1, required=True, metavar="LABEL=VERSION...")
def label(
    client: AdminClient, name: str, labels: tuple[str, ...], for_machines: bool
) -> None:
    """Set or remove labels of a model.

    All of them at once: `tandem label ranking stable=4 canary=-` moves one label and
    removes the other.
    """
    url = f"{ADMIN}/models/{quote(name, safe='')}/labels"
    show(client.call("PUT", url, parse_labels(labels)), for_machines)


@click.argument("target", metavar="NAME[/VERSION]")
@click.option("--off", is_flag=True, help="Allow eviction again.")
def pin(client: AdminClient, target: str, off: bool, for_machines: bool) -> None:
    """Exclude a model from eviction: keep it in memory."""
    body = {"pinned": not off}
    show(client.call("PUT", f"{model_url(target)}/pin", body), for_machines)


@click.argument("target", metavar="NAME[/VERSION]")
@click.argument("calls", type=int)
def concurrency(
    client: AdminClient, target: str, calls: int, for_machines: bool
) -> None:
    """Let a model run CALLS calls at a time, until the server stops."""
    body = {"concurrency": calls}
    show(client.call("PUT", f"{model_url(target)}/concurrency", body), for_machines)


def rescan(client: AdminClient, for_machines: bool) -> None:
    """Rescan the repository now for new, changed and removed models.

    Fails if a version's present files can't be served.
    """
    document = client.call("POST", f"{ADMIN}/rescan")
    show(document, for_machines)
    failed = [
        f"{entry['name']}/{version['version']}"
        for entry in document["models"]
        for version in entry["versions"]
        if version.get("error") or version.get("update_error")
    ]

    if failed:
        raise CommandFailed(f"failed to load: {', '.join(failed)}", FAILED)


@click.option("--off", is_flag=True, help="Report ready again.")
def drain(client: AdminClient, off: bool, for_machines: bool) -> None:
    """Report not ready, so that load balancers send clients elsewhere.

    Requests that arrive nevertheless are served.
    """
    answer = client.call("PUT", f"{ADMIN}/drain", {"draining": not off})
    if for_machines:
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo("draining" if answer["draining"] else "not draining")


def parse_settings(texts: tuple[str, ...]) -> dict[str, str]:
    """Return `max-queue=64` as a request body. Raise `ValueError`."""
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ValueError(f"{text!r} is not NAME=VALUE, such as max-queue=64")

        settings[name.replace("-", "_")] = value

    return settings


@click.argument("changes", nargs=-1, metavar="[NAME=VALUE...]")
def settings(client: AdminClient, changes: tuple[str, ...], for_machines: bool) -> None:
    """Show the settings that can be changed while the server runs, or change some.

    All of them or none, until the server stops: `tandem settings log-level=debug`.
    """
    body = parse_settings(changes)
    method = "PATCH" if body else "GET"
    answer = client.call(method, f"{ADMIN}/settings", body or None)
    if for_machines:
        click.echo(json.dumps(answer, indent=2))
        return

    for name, value in answer["settings"].items():
        shown = "auto" if value is None else value
        click.echo(f"{name.replace('_', '-')} = {shown}")


COMMANDS = (
    models,
    *(
        client_command(token=True)(function)
        for function in (
            *(load, unload, label, pin, concurrency, rescan, drain, settings),
        )
    ),
)
