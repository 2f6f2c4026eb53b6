"""The bar of the long commands."""

import pytest
from rich.console import Console

from asr.cli.bar import bar


def test_nothing_is_shown_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("transcribing") as advance:
        advance(1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_what_is_done_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Console, "is_terminal", property(lambda console: True))
    with bar("transcribing") as advance:
        advance(1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "transcribing" in err
    assert "1/2" in err
