#!/usr/bin/env bash
# uvicorn gives no answer to a client that closes its sending side after the request.
#
# What: a client may send its request and shut down its sending side (`nc -N`, `socat`,
#   PHP and Perl scripts do), since TCP's two directions close apart, and read the answer
#   then. uvicorn's protocols define no `eof_received`, so asyncio closes the transport
#   at the end of the client's side, and what the application sends is dropped. An
#   application sees `http.disconnect`. It is so with either parser; an answer that is
#   sent before the end is seen does arrive.
# Versions: uvicorn 0.54.0, httptools 0.9.0, h11 0.16.0, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is. Output seen:
#   httptools: b'' for a half-closed client, then http.disconnect
#   h11: b'' for a half-closed client, then http.disconnect
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0

"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import socket
import sys
import threading

import uvicorn

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
seen = []


async def app(scope, receive, send):
    await receive()
    try:
        # The application answers only once it has been told of the client's end.
        message = await asyncio.wait_for(receive(), 5)
        seen.append(message["type"])
    except TimeoutError:
        seen.append("nothing")

    start = {"type": "http.response.start", "status": 200}
    await send(start | {"headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"four"})


def try_parser(name):
    """Return what a half-closed client read, and what the application was told."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=name, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()

    with socket.create_connection(listener.getsockname(), timeout=20) as client:
        client.sendall(REQUEST)
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(65536)

    server.should_exit = True
    thread.join()
    print(f"{name}: {answer} for a half-closed client, then {seen[-1]}")
    return answer, seen[-1]


found = try_parser("httptools"), try_parser("h11")
if found != ((b"", "http.disconnect"),) * 2:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
