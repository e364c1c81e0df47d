#!/usr/bin/env bash
# Schemathesis holds each server-sent event to the schema of the whole stream.
#
# What: an OpenAPI 3.1 document says of a `text/event-stream` that it is a string, as
#   the body is; `itemSchema`, for single events, came with OpenAPI 3.2. Schemathesis
#   compares that schema with an object of each event's fields, and reports a right
#   answer as ST108, "SSE event violates schema". The same body as `text/plain` passes.
# Versions: schemathesis 4.32.5, Python 3.11 on Linux x86-64.
# How it was run: this script, as it is; a server of the standard library answers with
#   one event. Output seen:
#   text/plain: passed
#   text/event-stream: SSE event violates schema
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet schemathesis==4.32.5

cd "$folder"
venv/bin/python - <<'PYTHON'
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = ("text/plain", "text/event-stream")
EVENT = b"event: completed\ndata: 1\n\n"


def document(kind):
    content = {kind: {"schema": {"type": "string"}}}
    answer = {"200": {"description": "Events.", "content": content}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Events", "version": "1"},
        "paths": {f"/{kind}": {"get": {"responses": answer}}},
    }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        kind = self.path.removeprefix("/").removesuffix(".json")
        described = self.path.endswith(".json")
        body = json.dumps(document(kind)).encode() if described else EVENT
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if described else kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def outcome(kind):
    """Return what becomes of a check of the answer's schema."""
    command = ["venv/bin/schemathesis", "run", f"http://127.0.0.1:{port}/{kind}.json"]
    command += ["--checks", "response_schema_conformance", "--max-examples", "1"]
    done = subprocess.run(
        [*command, "--phases", "fuzzing", "--no-color"], capture_output=True, text=True
    )
    if done.returncode == 0:
        return "passed"

    said = "SSE event violates schema"
    return said if said in done.stdout else done.stdout


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_port
found = [outcome(kind) for kind in KINDS]
for kind, each in zip(KINDS, found):
    print(f"{kind}: {each}")

if found != ["passed", "SSE event violates schema"]:
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
