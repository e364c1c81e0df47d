#!/usr/bin/env bash
# uvicorn over httptools gives an application no body if the request offers an upgrade.
#
# What: a client may offer another protocol (`Connection: Upgrade`, `Upgrade: h2c`), and
#   a server may ignore it and answer in HTTP/1.1 (RFC 9110, section 7.8). Java's
#   HttpClient offers h2c with each clear-text request. httptools' parser takes what
#   follows the headers for the other protocol: it says that the message is complete,
#   calls no `on_body`, and raises `HttpParserUpgrade` with the offset of the rest.
#   uvicorn drops that rest, so the application gets an empty body. The rest of a body
#   that arrives later is taken for the next request, which is answered with 400. With
#   h11 the same request is right.
# Versions: uvicorn 0.54.0, httptools 0.9.0, h11 0.16.0, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   httptools: body b'' in one segment, then 400 for the rest
#   h11: body b'four' in one segment, then 200 for the rest
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0

"$folder/venv/bin/python" - <<'PYTHON'
import socket
import sys
import threading
import time

import uvicorn

HEAD = (
    b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nContent-Length: 4\r\n\r\n"
)


async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]

    text = repr(body).encode()
    length = str(len(text)).encode()
    start = {"type": "http.response.start", "status": 200}
    await send(start | {"headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": text})


def ask(client, *pieces):
    for piece in pieces:
        client.sendall(piece)
        time.sleep(0.2)

    return client.recv(65536)


def try_parser(name):
    """Return the body that arrived, and the last status of a body sent in two."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=name, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()

    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        body = ask(client, HEAD + b"four").rpartition(b"\r\n\r\n")[2].decode()

    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        answers = ask(client, HEAD, b"four")
        status = answers.rpartition(b"HTTP/1.1 ")[2][:3].decode()

    server.should_exit = True
    thread.join()
    print(f"{name}: body {body} in one segment, then {status} for the rest")
    return body, status


found = try_parser("httptools"), try_parser("h11")
if found != (("b''", "400"), ("b'four'", "200")):
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
