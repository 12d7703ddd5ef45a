"""The panel's own files: named by what is in them, kept for a year, packed where it helps."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from standart.admin.assets import Assets
from tests.builders import TestUser
from tests.integration.panel import Panel

_ADDRESS = re.compile(r'(?:href|src)="(/admin/assets/[^"]+)"')
_IMPORT = re.compile(r'"(\./[^"]+\.js)"')


def test_every_file_that_a_page_names_is_kept_for_a_year(
    client: FlaskClient, admin: TestUser
) -> None:
    panel = Panel(client)
    panel.log_in(admin)
    named = _ADDRESS.findall(panel.get("/admin/").text)

    assert len(named) >= 3
    for address in named:
        answer = client.get(address)
        assert answer.status_code == 200, address
        control = answer.headers["Cache-Control"]
        assert {"public", "max-age=31536000", "immutable"} == set(control.split(", "))
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        again = client.get(address, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")


def test_a_plain_name_leads_to_the_same_file_for_minutes(client: FlaskClient) -> None:
    plain = client.get("/admin/assets/panel.css")

    assert plain.status_code == 200
    assert plain.mimetype == "text/css"
    assert set(plain.headers["Cache-Control"].split(", ")) == {"public", "max-age=300"}


def test_files_are_packed_only_for_who_takes_it(client: FlaskClient) -> None:
    plain = client.get("/admin/assets/panel.css")
    packed = client.get("/admin/assets/panel.css", headers={"Accept-Encoding": "gzip, br"})

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"] != packed.headers["ETag"]


def test_modules_import_each_other_by_the_names_that_never_change(client: FlaskClient) -> None:
    waiting, seen = ["panel.js"], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        answer = client.get(f"/admin/assets/{name}")
        assert answer.status_code == 200, name
        assert answer.mimetype == "text/javascript"
        imported = _IMPORT.findall(answer.text)
        assert all(re.search(r"\.[0-9a-f]{12}\.js$", each) for each in imported)
        waiting += [each.removeprefix("./") for each in imported]

    assert any("chart" in name for name in seen)


@pytest.mark.parametrize(
    "name",
    ["nothing.css", "panel.000000000000.css", "../templates/panel/base.html", "panel.css/", ""],
)
def test_what_is_no_file_is_not_found(client: FlaskClient, name: str) -> None:
    assert client.get(f"/admin/assets/{name}").status_code == 404


def test_a_change_in_a_module_changes_the_names_of_all_that_import_it(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "outer.js").write_text('import "./inner/part.js";\n')
    (tmp_path / "inner" / "part.js").write_text("export const one = 1;\n")
    before = Assets(tmp_path)
    (tmp_path / "inner" / "part.js").write_text("export const one = 2;\n")
    after = Assets(tmp_path)

    assert before.name("outer.js") != after.name("outer.js")
    found = after.find("outer.js")
    assert found
    assert f'"./{after.name("inner/part.js")}"'.encode() in found[0].body


def test_a_module_that_imports_nothing_real_or_itself_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import "./b.js";\n')
    with pytest.raises(LookupError):
        Assets(tmp_path)
    (tmp_path / "b.js").write_text('import "./a.js";\n')
    with pytest.raises(LookupError):
        Assets(tmp_path)


def test_the_theme_is_written_by_the_server(client: FlaskClient) -> None:
    panel = Panel(client)
    assert '<html lang="en" data-theme="system">' in panel.get("/login").text

    answer = panel.post("/theme", {"theme": "dark", "next": "/login"})

    assert answer.headers["Location"] == "/login"
    page = panel.get("/login").text
    assert '<html lang="en" data-theme="dark">' in page
    assert '<meta name="color-scheme" content="dark">' in page
    assert panel.post("/theme", {"theme": "pink"}).status_code == 400
    client.set_cookie("standart_theme", '"><script>')
    assert 'data-theme="system"' in panel.get("/login").text
