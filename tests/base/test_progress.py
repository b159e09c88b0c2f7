"""What is shown on a terminal: text from outside cannot steer it."""

from collections.abc import Callable

import pytest

from tasks.base import output, progress
from tasks.base.errors import UserError

HOSTILE = "404 \x1b[31mevil\x07\x9b2J\r\x00\u202e\x7f"


@pytest.mark.parametrize("tell", [output.error, progress.say, output.last_line])
def test_control_characters_are_written_as_escapes(
    tell: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    tell(f"one\n\ttwo: {HOSTILE}\r\n")
    text = capsys.readouterr().err
    assert "one\n\ttwo: 404 \\x1b[31mevil\\x07\\x9b2J\\x0d\\x00\\u202e\\x7f\n" in text


def test_a_hint_is_escaped_too(capsys: pytest.CaptureFixture[str]) -> None:
    output.error(UserError("wrong", HOSTILE))
    assert "\x1b" not in capsys.readouterr().err
