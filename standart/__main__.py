"""The `standart` command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from standart.cli import command_line

if TYPE_CHECKING:
    from flask import Flask


def create_app() -> Flask:
    """Make the service's app when a command needs it: its imports take most of a second."""
    from standart import cli
    from standart.app import create_app as make

    app = make()
    cli.init_app(app)
    return app


def main() -> None:
    """Run the command line; never returns."""
    sys.exit(command_line(create_app).main(prog_name="standart"))


if __name__ == "__main__":
    main()
