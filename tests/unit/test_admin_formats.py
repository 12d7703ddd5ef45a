"""Amounts and ages as people read them; no digit is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from babel import Locale

from standart.admin import formats, icons
from standart.clock import now


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def choose(language: str) -> None:
        monkeypatch.setattr(formats, "get_locale", lambda: Locale(language))

    return choose


@pytest.mark.parametrize(
    ("value", "russian", "english"),
    [
        ("0", "0", "0"),
        ("7", "7", "7"),
        ("5.10", "5,10", "5.10"),
        ("1000.00", "1\u00a0000,00", "1,000.00"),
        ("-48.40", "-48,40", "-48.40"),
        ("0.00000001", "0,00000001", "0.00000001"),
        ("1234567890123456.78", "1\u00a0234\u00a0567\u00a0890\u00a0123\u00a0456,78", None),
        ("123456789012345678901.123456789012345678", None, None),
    ],
)
def test_amounts_keep_all_their_digits(
    speak: Callable[[str], None], value: str, russian: str | None, english: str | None
) -> None:
    for language, shown in (("ru", russian), ("en", english)):
        speak(language)
        written = formats.amount(value)
        assert shown is None or written == shown
        plain = written.replace("\u00a0", "")
        plain = plain.replace(",", ".") if language == "ru" else plain.replace(",", "")
        assert plain == value


@pytest.mark.parametrize(
    ("passed", "russian", "english"),
    [
        (timedelta(seconds=59), "", ""),
        (timedelta(minutes=5, seconds=30), "5 мин. назад", "5 min. ago"),
        (timedelta(hours=3, minutes=1), "3 ч. назад", "3 hr. ago"),
        (timedelta(minutes=-14, seconds=-30), "через 14 мин.", "in 14 min."),
    ],
)
def test_how_long_ago_something_was(
    speak: Callable[[str], None], passed: timedelta, russian: str, english: str
) -> None:
    for language, shown in (("ru", russian), ("en", english)):
        speak(language)
        assert formats.ago(now() - passed).replace(".", "") == shown.replace(".", "")


def test_an_icon_is_drawn_and_hidden_from_screen_readers() -> None:
    drawn = str(icons.icon("check"))

    assert drawn.startswith('<svg class="icon"')
    assert 'aria-hidden="true"' in drawn
    assert "<path" in drawn
    with pytest.raises(FileNotFoundError):
        icons.icon("nothing")


def test_what_stands_between_backticks_is_code_and_nothing_is_markup() -> None:
    assert formats.coded("run `a <b>`, `c`") == ("run <code>a &lt;b&gt;</code>, <code>c</code>")
    assert formats.coded("<i>") == "&lt;i&gt;"
