"""A refusal in its turn is sent once, to a client that is still there."""

from __future__ import annotations

from unittest.mock import MagicMock

from service.server.late_refusal import LateRefusal


def waiting() -> tuple[LateRefusal, MagicMock]:
    connection = MagicMock()
    return LateRefusal(connection, keep_alive=True), connection


def test_refusal_is_sent_to_a_client_that_waits() -> None:
    refusal, connection = waiting()

    assert refusal.send(b"busy")
    connection.transport.write.assert_called_once_with(b"busy")
    connection.on_response_complete.assert_called_once_with()


def test_refusal_of_a_request_that_was_given_up_is_not_sent() -> None:
    """As when its time to send the body, or the server's to end, is over."""
    refusal, connection = waiting()
    refusal.disconnected = True

    assert not refusal.send(b"busy")
    connection.transport.write.assert_not_called()
    connection.on_response_complete.assert_not_called()
