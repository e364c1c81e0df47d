"""HTTPS, clients' certificates, and files that change while the server runs."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from structlog.testing import capture_logs

from service.auth.tls import Certificates, TlsFiles, load_context
from service.cli.admin import find_certificate
from service.cli.client import AdminClient, Certificate, Unreachable
from service.settings.settings import SettingsError, load_settings
from tests.service.server.test_connection import echo
from tests.support.protocol_servers import running

if TYPE_CHECKING:
    from pathlib import Path

EXTENSIONS = "subjectAltName=IP:127.0.0.1,DNS:localhost"


def openssl(*args: str | Path) -> None:
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def issue(folder: Path, name: str, issuer: str | None = None) -> None:
    """Write `name`.pem and `name`.key, self-signed if nobody issues them."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    by: list[str | Path] = []
    if issuer is not None:
        by = ["-CA", folder / f"{issuer}.pem", "-CAkey", folder / f"{issuer}.key"]

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", f"/CN={name}", "-addext", EXTENSIONS]
    kind = [] if issuer is None else ["-addext", "basicConstraints=critical,CA:FALSE"]
    openssl("req", "-x509", *new, *by, *names, *kind, "-keyout", key, "-out", cert)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, each with a server and a client."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")

    folder = tmp_path_factory.mktemp("pki")
    for each in ("one", "two"):
        issue(folder, each)
        issue(folder, f"server-{each}", each)
        issue(folder, f"client-{each}", each)

    return folder


@pytest.fixture
def mounted(pki: Path, tmp_path: Path) -> Path:
    """A folder as Kubernetes mounts a secret: files are links through `..data`."""
    for each in ("one", "two"):
        folder = tmp_path / each
        folder.mkdir()
        shutil.copy(pki / f"server-{each}.pem", folder / "tls.crt")
        shutil.copy(pki / f"server-{each}.key", folder / "tls.key")
        shutil.copy(pki / f"{each}.pem", folder / "ca.crt")

    (tmp_path / "..data").symlink_to("one")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).symlink_to(f"..data/{name}")

    return tmp_path


def rotate(mounted: Path) -> None:
    (mounted / "next").symlink_to("two")
    os.replace(mounted / "next", mounted / "..data")


def files(mounted: Path, *, mutual: bool = False) -> TlsFiles:
    ca = mounted / "ca.crt" if mutual else None
    return TlsFiles(cert=mounted / "tls.crt", key=mounted / "tls.key", client_ca=ca)


def client_of(
    pki: Path, port: int, authority: str, own: str | None = None
) -> httpx.Client:
    context = ssl.create_default_context(cafile=pki / f"{authority}.pem")
    if own is not None:
        context.load_cert_chain(pki / f"{own}.pem", pki / f"{own}.key")

    return httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context)


def echoed(client: httpx.Client, text: str) -> bool:
    answer = client.post("/", content=text.encode())
    return bool(answer.json()["body"] == text)


def test_a_new_certificate_is_for_new_connections(pki: Path, mounted: Path) -> None:
    certificates = Certificates(files(mounted))
    with running(echo, certificates=certificates) as ((_, port), _server):
        with client_of(pki, port, "one") as before, client_of(pki, port, "two") as late:
            assert echoed(before, "a" * 100_000)
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                late.post("/", content=b"b")

            rotate(mounted)
            certificates.refresh()

            # Its connection is the old one.
            assert echoed(before, "c")
            assert echoed(late, "d")


def test_a_client_wants_a_certificate_of_the_authority(
    pki: Path, mounted: Path
) -> None:
    certificates = Certificates(files(mounted, mutual=True))
    with running(echo, certificates=certificates) as ((_, port), _server):
        with client_of(pki, port, "one", "client-one") as client:
            assert echoed(client, "a")

        for wrong in (None, "client-two"):
            with client_of(pki, port, "one", wrong) as client:
                with pytest.raises(httpx.TransportError):
                    client.post("/", content=b"a")

        rotate(mounted)
        certificates.refresh()

        with client_of(pki, port, "two", "client-two") as client:
            assert echoed(client, "a")

        with client_of(pki, port, "two", "client-one") as client:
            with pytest.raises(httpx.TransportError):
                client.post("/", content=b"a")


def test_our_commands_send_a_certificate(
    pki: Path, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pki / "one.pem"))
    certificates = Certificates(files(mounted, mutual=True))
    with running(echo, certificates=certificates) as ((_, port), _server):
        url = f"https://127.0.0.1:{port}"
        with pytest.raises(Unreachable):
            AdminClient(url=url, certificate=find_certificate()).call("GET", "/")

        monkeypatch.setenv("TANDEM_CLIENT_CERT", str(pki / "client-one.pem"))
        monkeypatch.setenv("TANDEM_CLIENT_KEY", str(pki / "client-one.key"))
        client = AdminClient(url=url, certificate=find_certificate())
        assert "body" in client.call("GET", "/")


def test_an_unusable_certificate_is_told_before_a_call(pki: Path) -> None:
    wrong = Certificate(cert=str(pki / "nothing.pem"))

    with pytest.raises(ValueError, match=r"nothing\.pem can't be used: No such file"):
        AdminClient(url="https://127.0.0.1:1", certificate=wrong)


def test_a_server_takes_up_new_files_by_itself(pki: Path, mounted: Path) -> None:
    certificates = Certificates(files(mounted))
    with running(echo, certificates=certificates) as ((_, port), _server):
        rotate(mounted)
        while True:
            with client_of(pki, port, "two") as client:
                try:
                    assert echoed(client, "a")
                    return
                except httpx.ConnectError:
                    continue


def test_a_broken_pair_keeps_the_old_one(pki: Path, mounted: Path) -> None:
    certificates = Certificates(files(mounted))
    shutil.copy(pki / "server-two.key", mounted / "one" / "tls.key")
    with capture_logs() as lines:
        certificates.refresh()
        certificates.refresh()

    [line] = lines
    assert line["log_level"] == "error"
    assert "isn't that of the certificate" in line["reason"]
    with running(echo, certificates=certificates) as ((_, port), _server):
        with client_of(pki, port, "one") as client:
            assert echoed(client, "a")


def test_a_key_of_another_certificate_is_refused(pki: Path) -> None:
    wrong = TlsFiles(cert=pki / "server-one.pem", key=pki / "server-two.key")

    with pytest.raises(ValueError, match="isn't that of the certificate"):
        load_context(wrong)


def test_files_without_pem_are_refused(pki: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_text("junk")
    pair = {"cert": pki / "server-one.pem", "key": pki / "server-one.key"}

    for field in ("cert", "key", "client_ca"):
        with pytest.raises(ValueError, match=r"as PEM") as caught:
            load_context(TlsFiles(**{**pair, field: junk}))

        assert str(junk) in str(caught.value)

    with pytest.raises(ValueError, match="can't be read"):
        load_context(TlsFiles(**{**pair, "key": tmp_path / "nothing"}))


def test_a_key_with_a_passphrase_is_refused(pki: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    lock = ("-aes256", "-passout", "pass:secret")
    openssl("pkey", "-in", pki / "server-one.key", *lock, "-out", locked)

    with pytest.raises(ValueError, match="has a passphrase"):
        load_context(TlsFiles(cert=pki / "server-one.pem", key=locked))


@pytest.mark.parametrize("missing", ["tls_cert", "tls_key"])
def test_half_a_pair_is_refused(mounted: Path, missing: str) -> None:
    flags: dict[str, Any] = {
        "tls_cert": mounted / "tls.crt",
        "tls_key": mounted / "tls.key",
        "tls_client_ca": mounted / "ca.crt",
    }
    assert load_settings(models="/", **flags).tls_files == files(mounted, mutual=True)

    with pytest.raises(SettingsError, match="both --tls-cert and --tls-key"):
        load_settings(models="/", **{**flags, missing: None})
