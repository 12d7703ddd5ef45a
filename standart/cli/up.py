"""`standart up`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click


@click.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes any free one.",
)
@click.option(
    "--data-dir",
    default="./.standart",
    show_default=True,
    envvar="STANDART_DATA_DIR",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the embedded engines, the secrets and the sockets.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Processes that serve the API.",
)
@click.option("--demo", is_flag=True, help="Add example transactions and a webhook receiver.")
def up(host: str, port: int, data_dir: Path, workers: int, demo: bool) -> None:
    """Start everything in one process tree: API, panel, worker, beat and the engines.

    PostgreSQL and Valkey are started from wheels unless DATABASE_URL and REDIS_URL name
    servers. Ctrl-C ends all of it.
    """
    # The supervisor lives as long as the tree: this process becomes it, and the memory of
    # the command line's imports is given back.
    options = {
        "host": host,
        "port": port,
        "data_dir": str(data_dir),
        "workers": workers,
        "demo": demo,
    }
    program = [sys.executable, "-P", "-m", "standart.embedded.up", json.dumps(options)]
    os.execv(program[0], program)  # noqa: S606 - our own program, no shell
