"""A table as an Excel workbook of one sheet, written while its rows are read.

Every cell is an inline string, never a formula and never a number that loses its digits, so a
million rows take no memory: the parts go into the archive as they are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile

from standart.documents.xlsx_frame import clean

_LEVEL: Final = 1
_BATCH: Final = 500
_CHUNK: Final = 32 * 1024

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"

_PARTS: Final = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package'
    '.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/>'
    "</Types>",
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1"'
    f' Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
    "</Relationships>",
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
    '<sheet name="Transactions" sheetId="1" r:id="rId1"/></sheets></workbook>',
}

# What a spreadsheet would take for the code of a character.
_CODE: Final = re.compile("_(?=x[0-9A-Fa-f]{4}_)")


class _Sink:
    """What the archive is written to: bytes that wait to be sent; it cannot go back."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def write(self, data: bytes) -> int:
        self.waiting += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: whoever sends takes what waits."""

    def taken(self) -> bytes:
        made = bytes(self.waiting)
        self.waiting.clear()
        return made


def stream(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """Yield the workbook's bytes, the first ones before the first row is asked for."""
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_DEFLATED, True, _LEVEL) as archive:  # type: ignore[call-overload]  # no IO[bytes], but all that it needs
        for name, content in _PARTS.items():
            archive.writestr(name, _HEAD + content)
        yield sink.taken()
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
            lines = [_line(heads)]
            for row in rows:
                lines.append(_line(row))
                if len(lines) >= _BATCH:
                    sheet.write("".join(lines).encode())
                    lines.clear()
                    if len(sink.waiting) > _CHUNK:
                        yield sink.taken()
            sheet.write(("".join(lines) + "</sheetData></worksheet>").encode())
    yield sink.taken()


def _line(cells: Sequence[str]) -> str:
    inside = "".join(
        f'<c t="inlineStr"><is><t xml:space="preserve">{_text(cell)}</t></is></c>'
        if cell
        else "<c/>"
        for cell in cells
    )
    return f"<row>{inside}</row>"


def _text(cell: str) -> str:
    return escape(_CODE.sub("_x005F_", clean(cell)), quote=False)
