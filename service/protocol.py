"""uvicorn's HTTP protocol, whose own error is JSON like all others."""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class JsonErrorProtocol(HttpToolsProtocol):
    """Answers what isn't HTTP, before any application sees it."""

    def send_400_response(self, msg: str) -> None:
        body = json.dumps({"error": msg}).encode("ascii")
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            "content-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
