from __future__ import annotations

from ecr_image_replicator.errors import ReplicationError


def test_a_message_is_one_line_without_control_characters() -> None:
    error = ReplicationError(
        "it has the media type \x1b[2J\nERROR\u202e\ud800", hint="Use\r\nanother."
    )
    assert str(error) == "it has the media type  [2J ERROR  . Use  another."
