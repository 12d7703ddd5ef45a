"""Draw the pictures of printed statements in the docs: ``python -m tests.pictures``.

It needs ``pdftoppm`` of poppler (``apt-get install poppler-utils``) on the path.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from standart.documents.words import WORDS
from tests.unit.document_samples import statement

TARGET = Path(__file__).parent.parent / "docs" / "screenshots"
DOTS_PER_INCH = 100


def main() -> None:
    """Write page one of a sample statement in each language."""
    made = statement(24)
    with TemporaryDirectory() as folder:
        for lang in WORDS:
            document = Path(folder) / "statement.pdf"
            document.write_bytes(made.render("pdf", lang))
            picture = TARGET / f"statement-{lang}"
            resolution = str(DOTS_PER_INCH)
            command = ["pdftoppm", "-png", "-singlefile", "-r", resolution, document, picture]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
