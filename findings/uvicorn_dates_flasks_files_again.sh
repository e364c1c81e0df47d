#!/usr/bin/env bash
# A file of Flask's has two Date headers behind uvicorn.
#
# What: `send_file` and `make_conditional` of Werkzeug set a Date. asgiref's bridge hands it
#   on, and uvicorn writes its default headers before an application's without a look at
#   them (it looks for Server alone): the answer has two Date lines, which may differ by a
#   second, and RFC 9110 allows no list of them. Answers that aren't conditional have one.
#   It is no matter of ASGI: behind Werkzeug's own server there are two as well.
# Versions: uvicorn 0.54.0, Werkzeug 3.1.9, Flask 3.1.3, asgiref 3.13.0, h11 0.16.0,
#   httptools 0.9.0, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is, on Debian 12. Output seen:
#   h11: a file 2, a text 1
#   httptools: a file 2, a text 1
#   Werkzeug's server: a file 2, a text 1
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet flask==3.1.3 werkzeug==3.1.9 asgiref==3.13.0 \
    uvicorn==0.54.0 h11==0.16.0 httptools==0.9.0
echo "a text" >"$folder/a.txt"

"$folder/venv/bin/python" - "$folder/a.txt" <<'PYTHON'
import http.client
import logging
import socket
import sys
import threading

import flask
import uvicorn
from asgiref.wsgi import WsgiToAsgi
from werkzeug.serving import make_server

logging.disable()
app = flask.Flask("app")
app.get("/file")(lambda: flask.send_file(sys.argv[1]))
app.get("/text", endpoint="text")(lambda: "a text")


def dates(port):
    """Return how many Date headers a file and a text have."""
    found = []
    for path in ("/file", "/text"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        found.append(len(answer.headers.get_all("Date")))
        answer.read()
        connection.close()

    return found


def behind_uvicorn(parser):
    # It listens from the start, so that requests may come before the server runs.
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(WsgiToAsgi(app), http=parser, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        return dates(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


def behind_werkzeug():
    server = make_server("127.0.0.1", 0, app)
    threading.Thread(target=server.serve_forever).start()
    try:
        return dates(server.port)
    finally:
        server.shutdown()


seen = {name: behind_uvicorn(name) for name in ("h11", "httptools")}
seen["Werkzeug's server"] = behind_werkzeug()
for name, (file, text) in seen.items():
    print(f"{name}: a file {file}, a text {text}")

assert all(found == [2, 1] for found in seen.values()), seen
print("confirmed")
PYTHON
