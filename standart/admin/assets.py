"""The panel's own files, under names that carry the hash of what is in them.

A name with its hash never means anything else, so browsers keep it for a year; the plain name
leads to the same file and is kept for minutes. Modules import each other by plain relative
names, which are replaced by hashed ones here, at start: nothing has to be built.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, Response, abort, current_app, request, url_for

_YEAR: Final = 31_536_000
_MINUTES: Final = 300
_HASH_LENGTH: Final = 12

# Below this a packed file is hardly smaller, and packing has a cost of its own.
_WORTH_PACKING: Final = 1_000
_TEXTS: Final = frozenset({".css", ".js", ".svg", ".txt"})

_IMPORT = re.compile(r'(\bfrom\s*|\bimport\s*\(?\s*)"(\.{1,2}/[^"]+\.js)"')


@dataclass(frozen=True)
class Asset:
    """A file as it is sent: ``name`` has the hash of ``body``; ``packed`` is gzip, if smaller."""

    name: str
    body: bytes
    packed: bytes | None
    mimetype: str


class Assets:
    """All files below ``folder``, read once.

    Raises:
        LookupError: a module imports what is not there, or modules import each other in a ring.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_plain: dict[str, Asset] = {}
        self._under_way: set[str] = set()
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._add(path.relative_to(folder).as_posix())
        self._by_hashed = {asset.name: asset for asset in self._by_plain.values()}

    def name(self, plain: str) -> str:
        """Return the name with its hash; a name that nobody knows stays as it is."""
        found = self._by_plain.get(plain)
        return found.name if found else plain

    def find(self, name: str) -> tuple[Asset, int] | None:
        """Return what ``name`` leads to, and for how many seconds it may be kept."""
        hashed = self._by_hashed.get(name)
        if hashed:
            return hashed, _YEAR
        plain = self._by_plain.get(name)
        return (plain, _MINUTES) if plain else None

    def _add(self, plain: str) -> Asset:
        if plain in self._by_plain:
            return self._by_plain[plain]
        path = self._folder / plain
        if plain in self._under_way or not path.is_file():
            raise LookupError(plain)
        self._under_way.add(plain)
        body = path.read_bytes()
        if path.suffix == ".js":
            body = self._with_hashed_imports(plain, body.decode()).encode()
        digest = hashlib.sha256(body).hexdigest()[:_HASH_LENGTH]
        stem, extension = posixpath.splitext(plain)
        packed = gzip.compress(body, mtime=0) if path.suffix in _TEXTS else body
        asset = Asset(
            name=f"{stem}.{digest}{extension}",
            body=body,
            packed=packed if _WORTH_PACKING < len(body) > len(packed) else None,
            mimetype=mimetypes.guess_type(plain)[0] or "application/octet-stream",
        )
        self._by_plain[plain] = asset
        return asset

    def _with_hashed_imports(self, plain: str, source: str) -> str:
        here = posixpath.dirname(plain)

        def renamed(found: re.Match[str]) -> str:
            target = self._add(posixpath.normpath(posixpath.join(here, found[2])))
            return f'{found[1]}"./{posixpath.relpath(target.name, here or ".")}"'

        return _IMPORT.sub(renamed, source)


class AssetBlueprint(Blueprint):
    """A blueprint whose static files are ``Assets``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.assets = Assets(Path(self.static_folder or "."))

    def send_static_file(self, filename: str) -> Response:
        """Answer with a file; 304 where the browser has it, packed where it may be."""
        found = self.assets.find(filename)
        if found is None:
            abort(404)
        asset, seconds = found
        packed = asset.packed if request.accept_encodings["gzip"] > 0 else None
        response = current_app.response_class(packed or asset.body, mimetype=asset.mimetype)
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        response.vary.add("Accept-Encoding")
        response.set_etag(hashlib.sha256(packed or asset.body).hexdigest()[:32])
        response.cache_control.public = True
        response.cache_control.max_age = seconds
        if seconds == _YEAR:
            response.cache_control.immutable = True
        response.make_conditional(request)
        return response

    def asset_url(self, plain: str) -> str:
        """Return the address of a file, for templates."""
        return url_for(f"{self.name}.static", filename=self.assets.name(plain))
