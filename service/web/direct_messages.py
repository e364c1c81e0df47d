"""Direct requests by ASGI's messages: of other servers, or behind applications."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from service.telemetry.logs import request_id
from service.web.direct_request import DirectHead, Entry

if TYPE_CHECKING:
    from service.bridge.bridge import Message, Receive, Scope, Send
    from service.bridge.disconnect import WatchTimer
    from service.web.direct_view import DirectAnswer, DirectView


async def answer_by_messages(
    view: DirectView, scope: Scope, receive: Receive, send: Send, timer: WatchTimer
) -> Receive | None:
    """Answer a request, or send nothing and return the `receive` for Flask.

    `timer` starts to watch the client once the request has waited for a while.
    """
    first = await receive()
    receive = replay(first, receive)
    if first["type"] != "http.request" or first.get("more_body", False):
        return receive

    body = first.get("body", b"")
    entry = Entry(DirectHead.of(view, scope["headers"]), scope, len(body))
    watch = ClientWatch(receive)
    timer.add(watch)
    token = request_id.set(entry.id)

    try:
        answer = await view(scope, body)
    except asyncio.CancelledError:
        entry.leave()
        if watch.gone and was_cancelled_once():
            return None

        raise
    except Exception as exc:
        answer = entry.refuse(exc)
    finally:
        watch.stop()
        # Flask's way has an id of its own.
        request_id.reset(token)

    if answer is None:
        return receive

    await send_answer(send, answer, entry.close(answer))
    return None


class ClientWatch:
    """Cancels the current task when the client has gone, once the timer starts it."""

    # The timer keeps it for longer than the request, so the rest of that isn't here.
    __slots__ = ("_receive", "_task", "_watching", "gone")

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive: Receive | None = receive
        self._task = asyncio.current_task()
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._receive is not None:
            self._watching = asyncio.create_task(self._watch(self._receive))

    def stop(self) -> None:
        self._receive = self._task = None
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

        if self._task is not None:
            self.gone = True
            self._task.cancel()


def was_cancelled_once() -> bool:
    """Return whether nobody else has cancelled the current task, too."""
    task = asyncio.current_task()
    return task is not None and task.uncancel() == 0


async def send_answer(send: Send, answer: DirectAnswer, lines: bytes) -> None:
    lines += b"content-length: %d\r\n" % len(answer.body)
    headers = [tuple(line.split(b": ", 1)) for line in lines.split(b"\r\n")[:-1]]
    start = {
        "type": "http.response.start",
        "status": answer.status,
        "headers": headers,
    }
    await send(start)
    await send({"type": "http.response.body", "body": answer.body})


def replay(first: Message, receive: Receive) -> Receive:
    """Return a `receive` that gives `first` once more before the rest."""
    messages = [first]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
