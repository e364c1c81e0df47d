"""TLS: the server's certificate, and whose clients may connect, from files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import structlog

if TYPE_CHECKING:
    from pathlib import Path

    Stamp = tuple[tuple[int, int, int, int] | None, ...]

log = structlog.get_logger("tandem.tls")


class EncryptedKey(Exception):
    """A private key that wants a passphrase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files: a certificate with its chain, its key, and authorities of clients."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def stamp(self) -> Stamp:
        """Return what changes with the files, also by a link above them."""
        return tuple(_stamp(path) for path in (self.cert, self.key, self.client_ca))


def load_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of these files.

    Raise `ValueError`, which names the file and what is wrong with it.
    """
    for path in filter(None, (files.cert, files.key, files.client_ca)):
        _check_readable(path)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, files)
    if files.client_ca is not None:
        _want_clients_of(context, files.client_ca)

    return context


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as exc:
        raise ValueError(f"{path} can't be read: {exc.strerror}") from exc


def _load_pair(context: ssl.SSLContext, files: TlsFiles) -> None:
    try:
        context.load_cert_chain(files.cert, files.key, password=_refuse_passphrase)
    except EncryptedKey:
        raise ValueError(
            f"the key in {files.key} has a passphrase, which nobody can enter at start:"
            f" openssl pkey -in {files.key} -out PLAIN.pem"
        ) from None
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(
                f"the key in {files.key} isn't that of the certificate in {files.cert}"
            ) from None

        raise ValueError(
            f"{files.cert} and {files.key} must be a certificate, with its chain, and"
            f" its private key as PEM ({exc.reason or exc})"
        ) from None


def _refuse_passphrase() -> NoReturn:
    # Without a callback OpenSSL would ask on the terminal.
    raise EncryptedKey


def _want_clients_of(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(cafile=authorities)
    except ssl.SSLError as exc:
        raise ValueError(
            f"{authorities} must have certificates of authorities as PEM"
            f" ({exc.reason or exc})"
        ) from None

    context.verify_mode = ssl.CERT_REQUIRED
    # A session that is resumed would be that of a client whose authority has gone.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0


class Certificates:
    """The context of a server whose files may change; new connections get the new one.

    Raises `ValueError` for unusable files; when they are so later, the last usable ones
    stay in force.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp = files.stamp()
        self._current = self.context = load_context(files)
        # The listener keeps its context, and connections are given the current one.
        self.context.sni_callback = self._choose

    def refresh(self) -> None:
        """Load the files again if they have changed."""
        stamp = self._files.stamp()
        if stamp == self._stamp:
            return

        # Kept even if the files are wrong: it is told once.
        self._stamp = stamp
        try:
            self._current = load_context(self._files)
        except ValueError as exc:
            log.error("keeping the previous certificate", reason=str(exc))
        else:
            log.info("certificate read again", file=str(self._files.cert))

    def _choose(
        self,
        connection: ssl.SSLSocket | ssl.SSLObject,
        name: str | None,
        context: ssl.SSLContext,
    ) -> None:
        # OpenSSL calls it for clients that name no server, too.
        connection.context = self._current


def _stamp(path: Path | None) -> tuple[int, int, int, int] | None:
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None

    return found and (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
