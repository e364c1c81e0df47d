#!/usr/bin/env bash
# redis-py 8 ends a blocking command after 5 seconds, whatever its own time is.
#
# What: `BLPOP key 30` asks Redis to wait for up to 30 seconds. redis-py 8 has a
#   `socket_timeout` of 5 seconds unless one is given (before, it was none), and raises
#   `TimeoutError` from the read of the answer while the command still waits in Redis:
#   an element that comes then is popped and lost. `socket_timeout=None` waits.
# Versions: redis 8.1.0 (the Python package), Python 3.11 on Linux x86-64.
# How it was run: this script, as it is; a socket that never answers stands for a Redis
#   whose list is empty. Output seen:
#   default: TimeoutError
#   socket_timeout=None: still waiting after 8 seconds
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet redis==8.1.0

"$folder/venv/bin/python" - <<'PYTHON'
import socket
import sys
import threading

import redis


def answer(listener):
    """Say OK to what a client says of itself, and nothing to BLPOP."""
    while True:
        client, _ = listener.accept()
        threading.Thread(target=greet, args=(client,), daemon=True).start()


def greet(client):
    while data := client.recv(65536):
        if b"BLPOP" not in data:
            client.sendall(b"+OK\r\n" * data.count(b"CLIENT"))


def outcome(port, **options):
    """Return what has become of a BLPOP of 30 seconds after 8."""
    found = []
    client = redis.Redis(port=port, protocol=2, retry=None, **options)

    def pop():
        try:
            client.blpop("key", 30)
        except Exception as exc:
            found.append(type(exc).__name__)

    thread = threading.Thread(target=pop, daemon=True)
    thread.start()
    thread.join(8)
    return found[0] if found else "still waiting after 8 seconds"


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=answer, args=(listener,), daemon=True).start()
port = listener.getsockname()[1]
default, without = outcome(port), outcome(port, socket_timeout=None)
print(f"default: {default}")
print(f"socket_timeout=None: {without}")
if (default, without) != ("TimeoutError", "still waiting after 8 seconds"):
    sys.exit("the behaviour has changed")

print("confirmed")
PYTHON
