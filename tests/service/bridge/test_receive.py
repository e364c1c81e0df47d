from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint
from werkzeug.exceptions import ClientDisconnected

from service.bridge.receive import RequestBody, RequestReceiver
from tests.support.servers import GONE, body_message

if TYPE_CHECKING:
    from tests.support.servers import Message


class Sender:
    """A `receive` that the test feeds with messages."""

    def __init__(self, *messages: Message) -> None:
        self.waiting = 0
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.put(message)

    def put(self, message: Message) -> None:
        self._queue.put_nowait(message)

    @property
    def left(self) -> int:
        return self._queue.qsize()

    async def receive(self) -> Message:
        assert self.waiting == 0, "two readers at once"
        self.waiting += 1
        try:
            return await self._queue.get()
        finally:
            self.waiting -= 1


async def test_reads_to_the_end() -> None:
    sender = Sender(
        body_message(b"ab", more=True),
        body_message(b"", more=True),
        body_message(b"c"),
    )
    receiver = RequestReceiver(sender.receive)
    assert [await receiver.read() for _ in range(4)] == [b"ab", b"c", b"", b""]


async def test_nothing_is_read_ahead() -> None:
    sender = Sender(body_message(b"a", more=True), body_message(b"b"))
    receiver = RequestReceiver(sender.receive)
    assert await receiver.read() == b"a"
    assert sender.left == 1


async def test_disconnect_in_the_body() -> None:
    receiver = RequestReceiver(Sender(body_message(b"a", more=True), GONE).receive)
    assert await receiver.read() == b"a"
    with pytest.raises(ClientDisconnected):
        await receiver.read()


async def test_disconnect_after_the_body() -> None:
    receiver = RequestReceiver(Sender(body_message(b"a"), GONE).receive)
    await receiver.disconnected()
    assert await receiver.read() == b"a"
    assert await receiver.read() == b""


async def test_watcher_leaves_the_body_to_the_reader() -> None:
    pieces = [b"a", b"b", b"c"]
    sender = Sender(*(body_message(piece, more=True) for piece in pieces))
    receiver = RequestReceiver(sender.receive)
    async with anyio.create_task_group() as group:
        group.start_soon(receiver.disconnected)
        await anyio.wait_all_tasks_blocked()
        assert sender.left == 2
        assert [await receiver.read() for _ in pieces] == pieces
        sender.put(body_message(b"d"))
        assert [await receiver.read() for _ in range(2)] == [b"d", b""]
        sender.put(GONE)


async def test_watcher_and_reader_wait_together() -> None:
    sender = Sender()
    receiver = RequestReceiver(sender.receive)
    got = []

    async def read() -> None:
        got.append(await receiver.read())

    async with anyio.create_task_group() as group:
        group.start_soon(receiver.disconnected)
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        sender.put(body_message(b"late"))
        await anyio.wait_all_tasks_blocked()
        sender.put(GONE)
        await checkpoint()

    assert got == [b"late"]


def stream_of(*messages: Message) -> RequestBody:
    return RequestBody(RequestReceiver(Sender(*messages).receive))


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        pytest.param(["read"], [b"one\ntwo\n3"], id="all"),
        pytest.param(["readline"] * 4, [b"one\n", b"two\n", b"3", b""], id="lines"),
    ],
)
async def test_stream_in_a_thread(calls: list[str], expected: list[bytes]) -> None:
    stream = stream_of(body_message(b"one\ntw", more=True), body_message(b"o\n3"))

    def read() -> list[bytes]:
        return [getattr(stream, name)() for name in calls]

    assert await anyio.to_thread.run_sync(read) == expected


async def test_pieces_are_returned_as_they_arrived() -> None:
    piece = b"abcd" * 1000
    stream = stream_of(body_message(piece, more=True), body_message(b"efg"))

    def read() -> list[bytes]:
        return [stream.read1(), stream.read1(2), stream.read1(), stream.read1()]

    pieces = await anyio.to_thread.run_sync(read)
    assert pieces == [piece, b"ef", b"g", b""]
    assert pieces[0] is piece


async def test_a_whole_body_in_one_message_is_not_copied() -> None:
    piece = b"abcd" * 1000
    stream = stream_of(body_message(piece))
    assert await anyio.to_thread.run_sync(stream.read) is piece


async def test_peek_consumes_nothing() -> None:
    stream = stream_of(body_message(b"abc"))

    def read() -> list[bytes]:
        return [stream.peek(), stream.peek(1), stream.read(), stream.peek()]

    assert await anyio.to_thread.run_sync(read) == [b"abc", b"abc", b"abc", b""]


async def test_long_lines() -> None:
    line = b"x" * 3000 + b"\n"
    stream = stream_of(body_message(line[:1000], more=True), body_message(line[1000:]))
    assert await anyio.to_thread.run_sync(stream.readlines) == [line]


async def test_reading_into_a_buffer() -> None:
    stream = stream_of(body_message(b"abc", more=True), body_message(b"d"))

    def read() -> tuple[int, bytes]:
        buffer = bytearray(10)
        return stream.readinto(buffer), bytes(buffer[:4])

    assert await anyio.to_thread.run_sync(read) == (4, b"abcd")


async def test_sized_reads() -> None:
    stream = stream_of(body_message(b"abcd", more=True), body_message(b"efg"))

    def read() -> list[bytes]:
        return [stream.read(3), stream.read(3), stream.read(3), stream.read(3)]

    assert await anyio.to_thread.run_sync(read) == [b"abc", b"def", b"g", b""]
