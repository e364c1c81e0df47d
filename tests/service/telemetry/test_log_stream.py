"""Log lines to real pipes, files and closed descriptors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import structlog

from service.telemetry import log_stream
from service.telemetry.log_stream import MAX_BACKLOG_BYTES, LogWriter, StandardError
from service.telemetry.logs import configure_logging
from tests import PROJECT
from tests.support.logging_state import restored_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = list(os.pipe())
    yield ends[0], ends[1]
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def test_lines_reach_a_reader_in_their_order(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    writer = LogWriter(target)
    lines = [b"%06d %b" % (number, LINE) for number in range(5000)]

    for line in lines:
        writer.write(line)

    # More than a pipe holds: the rest was kept for a reader that comes late.
    assert read(reader, sum(map(len, lines))) == b"".join(lines)
    assert writer.dropped == 0


def test_a_line_that_is_longer_than_the_pipe_is_whole(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    writer = LogWriter(target)
    line = b"y" * 300_000 + b"\n"
    writer.write(line)
    writer.write(LINE)

    assert read(reader, len(line + LINE)) == line + LINE


def test_a_reader_that_has_stopped_costs_lines_only(pipe: tuple[int, int]) -> None:
    _, target = pipe
    writer = LogWriter(target)
    count = 2 * MAX_BACKLOG_BYTES // len(LINE)

    for _ in range(count):
        writer.write(LINE)

    assert 0 < writer.dropped < count


def test_a_reader_that_has_gone_costs_lines_only(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    writer = LogWriter(target)
    os.close(reader)
    for _ in range(3):
        writer.write(LINE)

    assert writer.dropped == 3


def test_a_reader_that_goes_while_lines_wait(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    writer = LogWriter(target)
    for _ in range(2000):
        writer.write(LINE)

    os.close(reader)
    while writer.dropped == 0:
        writer.write(LINE)


def test_a_full_disk_costs_lines_only() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        writer = LogWriter(full.fileno())
        writer.write(LINE)

    assert writer.dropped == 1


def test_threads_do_not_mix_their_lines(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    writer = LogWriter(target)

    def write(letter: bytes) -> None:
        for _ in range(500):
            writer.write(letter * 999 + b"\n")

    threads = [threading.Thread(target=write, args=(x,)) for x in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()

    lines = read(reader, 3 * 500 * 1000).splitlines()
    for thread in threads:
        thread.join()

    assert set(lines) == {b"a" * 999, b"b" * 999, b"c" * 999}


def test_a_stream_that_cannot_be_written_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = StandardError()
    for broken in (None, closed()):
        monkeypatch.setattr(sys, "stderr", broken)
        stream.write("line\n")

    assert stream.dropped == 2
    assert not stream.isatty()


def test_logging_goes_on_without_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", closed())
    before = log_stream.dropped_lines()
    with restored_logging():
        configure_logging("json", "info")
        structlog.get_logger().info("a line")

    assert log_stream.dropped_lines() == before + 1


def test_a_closed_standard_error_is_no_other_file() -> None:
    """Else the next file that is opened gets what libraries print."""
    script = (
        "import os; from service.telemetry.log_stream import open_standard_streams; "
        "open_standard_streams(); file = os.open('/dev/zero', os.O_RDONLY); "
        "import sys; print(file, file=sys.stderr); print('{\"file\": %d}' % file)"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, script],
        cwd=PROJECT,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["file"] > 2


def closed() -> object:
    stream = open(os.devnull, "w")
    stream.close()
    return stream


def read(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(fd, size - len(data))

    return data
