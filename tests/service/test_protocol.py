from __future__ import annotations

import json
import socket
import threading

import uvicorn

from service.protocol import JsonErrorProtocol


async def never(scope: object, receive: object, send: object) -> None:
    raise AssertionError("the application must not see what isn't HTTP")


def test_what_is_not_http_is_answered_in_json() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        never, http=JsonErrorProtocol, lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()

    try:
        with socket.create_connection(listener.getsockname(), timeout=30) as client:
            client.sendall(b"this is not HTTP\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
    finally:
        server.should_exit = True
        thread.join()
        listener.close()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body) == {"error": "Invalid HTTP request received."}
