#!/usr/bin/env bash
# nginx, as it is set by default, turns early answers of uvicorn into 502.
#
# What: nginx speaks HTTP/1.0 to its upstreams unless told otherwise, and sends the whole
#   body whatever comes back. An application that refuses a request by its head (401, 413)
#   answers before the body has come; uvicorn then closes the socket with bytes of the
#   body unread, which is a reset. nginx's next write fails, and its client gets 502
#   instead of the answer. With `proxy_http_version 1.1` and an empty
#   `Connection` uvicorn keeps the connection, reads the body and drops it, and the answer
#   arrives. It is so with either parser of uvicorn's.
# Versions: uvicorn 0.54.0, httptools 0.9.0, h11 0.16.0, nginx 1.22.1 of Debian 12,
#   Python 3.11 on Linux x86-64.
# How it was run: this script, as it is, on Debian 12 (it unpacks Debian's nginx into a
#   temporary folder). Output seen, where the counts of 502 differ each time (5 to 9):
#   httptools, HTTP/1.0: 502 for 8 of 10 bodies of 30 MB
#   httptools, HTTP/1.1, kept: 401 for 10 of 10
#   h11, HTTP/1.0: 502 for 7 of 10 bodies of 30 MB
#   h11, HTTP/1.1, kept: 401 for 10 of 10
#   confirmed
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0
(cd "$folder" && apt-get download --quiet --quiet nginx && dpkg -x nginx_*.deb nginx)

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import collections
import http.client
import pathlib
import socket
import subprocess
import sys
import threading
import time

import uvicorn

folder = pathlib.Path(sys.argv[1])
BODY = bytes(30 << 20)
KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'


async def refuse(scope, receive, send):
    start = {"type": "http.response.start", "status": 401}
    await send(start | {"headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"none"})


def statuses(parser, directives):
    """Return how often nginx gave each status."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(refuse, http=parser, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    folders = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"""
        daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
        events {{}}
        http {{
            access_log off; client_max_body_size 0; {folders}
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass http://127.0.0.1:{listener.getsockname()[1]};
                    {directives}
                }}
            }}
        }}
        """
    )
    command = [folder / "nginx/usr/sbin/nginx", "-c", file, "-p", folder]
    nginx = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        return collections.Counter(ask(port) for _ in range(10))
    finally:
        nginx.terminate()
        nginx.wait()
        server.should_exit = True
        thread.join()
        listener.close()


def ask(port):
    for _ in range(100):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            client.request("POST", "/", BODY)
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return client.getresponse().status

    sys.exit("nginx didn't start")


lost = {}
for parser in ("httptools", "h11"):
    usual, kept = statuses(parser, ""), statuses(parser, KEPT)
    print(f"{parser}, HTTP/1.0: 502 for {usual[502]} of 10 bodies of 30 MB")
    print(f"{parser}, HTTP/1.1, kept: 401 for {kept[401]} of 10")
    lost[parser] = usual[502] >= 1 and kept[401] == 10

confirmed = all(lost.values())
print("confirmed" if confirmed else "not as described")
sys.exit(not confirmed)
PYTHON
