"""The printed statement: its text read back by another library, its figures, its looks."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from standart.documents import pdf
from standart.documents.figures import amount, moment_utc
from standart.documents.pdf_pen import ELLIPSIS, Style, cut, face, width, words, wrap
from standart.documents.pdf_table import PAD, SIZES, Table
from standart.documents.statement import Foot, Movement, Totals
from standart.documents.words import AMOUNTS, WORDS, Lang
from standart.errors import InvalidInput
from tests.unit.document_samples import HEAD, HOSTILE, Statement, changed, hostile, statement

ROOM = 780.0
REGULAR = Style()


def pages(document: bytes) -> list[str]:
    """Return the text of each page, every space the same."""
    read = pypdf.PdfReader(io.BytesIO(document), strict=True)
    return [re.sub(r"\s+", " ", page.extract_text()) for page in read.pages]


def amounts_in(made: Statement, lang: Lang) -> set[str]:
    """Return every amount that a statement must show, as it is printed."""
    foot, head = made.foot, made.head
    rows = [*made.moves, foot.totals, *foot.by_kind.values()]
    minor = {getattr(row, name) for row in rows for name in AMOUNTS} - {0}
    minor |= {each.balance for each in made.moves}
    minor |= {head.available, head.reserved, foot.available, foot.reserved}
    return {amount(each, head.currency, lang).replace("\xa0", " ") for each in minor}


@pytest.mark.parametrize("lang", WORDS)
def test_the_same_statement_is_the_same_file(lang: Lang) -> None:
    made = statement(40)
    assert made.render("pdf", lang) == made.render("pdf", lang)


def test_threads_that_print_at_once_spoil_nothing() -> None:
    made = [statement(20 + 7 * place, seed=place) for place in range(6)]
    alone = [each.render("pdf", "ru") for each in made]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda each: each.render("pdf", "ru"), made))
    assert together == alone


@pytest.mark.parametrize("lang", WORDS)
@pytest.mark.parametrize("currency", ["RUB", "JPY", "BTC"])
def test_every_movement_and_every_sum_is_printed(lang: Lang, currency: str) -> None:
    made = statement(90, replace(HEAD, currency=currency))
    text = " ".join(pages(made.render("pdf", lang)))

    for it in made.moves:
        assert str(it.source_id) in text
        assert it.reference is None or it.reference in text
        assert it.transaction_id is None or str(it.transaction_id) in text
        assert moment_utc(it.at) in text
        assert WORDS[lang].kinds[it.kind] in text
    assert {each for each in amounts_in(made, lang) if each not in text} == set()


@pytest.mark.parametrize("lang", WORDS)
def test_page_one_says_whose_statement_it_is_and_what_proves_it(lang: Lang) -> None:
    made = statement(90)
    first = pages(made.render("pdf", lang))[0]
    said = WORDS[lang]

    for text in (
        said.numbered.format(number="2026-11-0042"),
        "ООО «Ромашка»",
        str(HEAD.merchant_id),
        said.span.format(start="2026-10-31 21:00:00Z", end="2026-11-30 21:00:00Z"),
        "Europe/Moscow (UTC+03:00)",
        said.closed,
        str(HEAD.anchor),
        made.foot.digest,
        said.opening,
        said.change,
        said.closing,
        said.net_note,
    ):
        assert text in first


def test_every_page_repeats_the_heads_and_counts_itself() -> None:
    printed = pages(statement(90).render("pdf", "ru"))
    assert len(printed) > 3
    for place, text in enumerate(printed, 1):
        assert f"стр. {place} из {len(printed)}" in text
        assert "Время (Europe/Moscow)" in text
        assert "Поступления" in text
        assert "Выписка о расчётах № 2026-11-0042" in text
        assert statement(90).foot.digest[:16] in text


@pytest.mark.parametrize("lang", WORDS)
def test_a_period_without_movements_fits_on_a_page_that_says_so(lang: Lang) -> None:
    [page] = pages(statement(0).render("pdf", lang))
    assert WORDS[lang].nothing in page
    assert amount(HEAD.available, "RUB", lang).replace("\xa0", " ") in page


def test_an_open_period_before_the_first_seal_says_so() -> None:
    made = statement(1, replace(HEAD, closed=False, anchor=None))
    [page] = pages(made.render("pdf", "ru"))
    assert WORDS["ru"].open in page
    assert WORDS["ru"].no_chain in page


@pytest.mark.parametrize("top", range(90, 320, 10))
def test_the_opening_balance_and_the_totals_are_never_alone_on_a_page(top: int) -> None:
    """Wherever page one has room for the table, and wherever it ends."""
    for count in range(1, 40):
        made = statement(count)
        document = pdf._Document(made.head, list(made.moves), made.foot, "en")
        printed = [page for page in document._pages(top) if page]
        assert [row for page in printed for row in page] == document.rows
        assert all(len(page) > 1 for page in (printed[0], printed[-1]))


def test_more_than_the_limit_is_refused_before_anything_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pdf, "MAX_MOVEMENTS", 10)
    made = statement(11)
    assert statement(10).render("pdf", "ru")

    def foot() -> Foot:
        raise AssertionError("asked for the totals of what is not printed")

    with pytest.raises(InvalidInput) as refused:
        pdf.render(made.head, made.moves, foot, "ru")
    [error] = refused.value.errors
    assert error.field == "format"
    assert "10" in error.message
    assert "csv" in error.message


def test_the_limit_is_five_thousand() -> None:
    assert pdf.MAX_MOVEMENTS == 5000


def test_the_foot_is_asked_for_once_after_the_last_movement() -> None:
    made = statement(3)
    seen: list[str] = []

    def source() -> Iterator[Movement]:
        for each in made.moves:
            seen.append("movement")
            yield each

    def foot() -> Foot:
        seen.append("foot")
        return made.foot

    assert b"".join(pdf.render(made.head, source(), foot, "ru"))
    assert seen == ["movement"] * 3 + ["foot"]


def test_names_and_references_are_printed_as_they_are() -> None:
    made = hostile()
    document = made.render("pdf", "en")
    # Lines of a long reference are broken anywhere, so spaces don't count.
    text = re.sub(r"\s", "", "".join(pages(document)))
    regular = face("regular")

    for each in HOSTILE:
        shown = re.sub(r"\s", "", regular.printable(each))
        if any(unicodedata.bidirectional(one) in ("R", "AL") for one in shown):
            # What reads from right to left is turned around by whoever reads it back.
            assert set(shown) <= set(text)
        else:
            assert shown in text, each
    assert not any(unicodedata.category(each) == "Cf" for each in text)
    assert b"/URI" not in document
    assert b"/JavaScript" not in document


def test_fonts_are_embedded_and_only_what_is_used_of_them() -> None:
    document = statement(12).render("pdf", "ru")
    fonts: dict[str, Any] = {}
    for page in pypdf.PdfReader(io.BytesIO(document)).pages:
        for font in page["/Resources"]["/Font"].get_object().values():
            fonts[font.get_object()["/BaseFont"]] = font.get_object()
    used = {name: font for name, font in fonts.items() if "DejaVu" in name}

    assert {name.split("+")[1] for name in used} == {
        "DejaVuSansCondensed",
        "DejaVuSansCondensed-Bold",
    }
    assert all("/FontFile2" in font["/FontDescriptor"].get_object() for font in used.values())
    assert len(document) < 80_000


def test_the_documents_date_is_the_periods_end() -> None:
    read = pypdf.PdfReader(io.BytesIO(statement(3).render("pdf", "ru")))
    about = read.metadata
    assert about is not None
    assert about.creation_date == HEAD.end
    assert about.modification_date == HEAD.end
    assert about.title == "Выписка о расчётах № 2026-11-0042"
    assert about.author == "Standart"
    assert read.trailer["/Root"]["/Lang"] == "ru-RU"


def table(made: Statement, lang: Lang = "ru") -> Table:
    return Table(made.head, made.moves, made.foot, lang, ROOM)


@pytest.mark.parametrize("lang", WORDS)
@pytest.mark.parametrize("currency", ["RUB", "JPY", "BTC", "KWD"])
@pytest.mark.parametrize("scale", [1, 10**6, 10**11])
def test_columns_hold_their_widest_amount(lang: Lang, currency: str, scale: int) -> None:
    made = statement(40, replace(HEAD, currency=currency), scale=scale)
    fitted = table(made, lang)
    figures = Style("bold", fitted.size)

    assert fitted.number + fitted.time + fitted.text + sum(fitted.amounts) == pytest.approx(ROOM)
    rows = [*made.moves, made.foot.totals, *made.foot.by_kind.values()]
    for name, wide in zip(AMOUNTS, fitted.amounts, strict=False):
        for row in rows:
            shown = amount(getattr(row, name), currency, lang)
            assert width(shown, figures) + 2 * PAD <= wide + 0.001


@pytest.mark.parametrize("lang", WORDS)
@pytest.mark.parametrize("currency", ["RUB", "JPY", "BTC"])
def test_the_largest_sums_there_can_be_still_fit(lang: Lang, currency: str) -> None:
    worst = -(2**63)
    names = [*AMOUNTS, "balance"]
    made = changed(
        statement(5, replace(HEAD, currency=currency)),
        lambda it: replace(it, number=4999, **dict.fromkeys(names, worst)),
    )
    foot = Foot(Totals(5, *[worst] * 8), {"refund": Totals(5, *[worst] * 8)}, worst, worst, "00")
    fitted = table(Statement(made.head, made.moves, foot), lang)

    assert fitted.size in SIZES
    assert fitted.text > 80
    assert Statement(made.head, made.moves, foot).render("pdf", lang)


def test_usual_sums_are_printed_in_the_usual_size() -> None:
    assert table(statement(400, scale=100)).size == SIZES[0]


def test_texts_stay_in_their_column() -> None:
    made = hostile()
    fitted = table(made)
    for it in made.moves:
        row = fitted.movement(it)
        assert row.texts
        for text, style in row.texts:
            assert width(text, style) <= fitted.text - 2 * PAD


@given(st.text(st.characters(codec="utf-8"), max_size=200), st.floats(20, 300))
def test_wrapping_loses_nothing_but_spaces(text: str, room: float) -> None:
    lines = wrap(text, [room] * 201, REGULAR)
    assert all(width(line, REGULAR) <= room for line in lines)
    shown = face("regular").printable(text)
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")


@given(st.text(st.characters(codec="utf-8"), max_size=200), st.floats(20, 300))
def test_what_is_cut_says_so_and_fits(text: str, room: float) -> None:
    line = cut(text, room, REGULAR)
    shown = face("regular").printable(text)
    assert width(line, REGULAR) <= room
    assert line == shown or (line.endswith(ELLIPSIS) and shown.startswith(line[:-1]))


@given(st.text("ab c/", max_size=60), st.floats(20, 100))
def test_words_are_kept_whole_where_they_fit(text: str, room: float) -> None:
    lines = words(text, room, REGULAR)
    assert all(width(line, REGULAR) <= room for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("weight", ["regular", "bold"])
def test_figures_are_tabular_and_signs_have_glyphs(weight: Any) -> None:
    own = face(weight)
    assert len({own.width(each, 10) for each in "0123456789"}) == 1
    signs = "№₽€«»–−…·АБЯабяЁё"
    assert own.printable(signs) == signs


def test_a_reference_longer_than_its_lines_is_cut() -> None:
    made = changed(statement(1), lambda it: replace(it, reference="W" * 500))
    row = table(made).movement(made.moves[0])
    texts = [text for text, _ in row.texts]
    assert texts[-2].endswith(ELLIPSIS) or texts[-3].endswith(ELLIPSIS)
    assert str(UUID(texts[-1][-36:])) in texts[-1]
