"""Fill a data dir of ``standart up``: ``python -m benchmarks.fill --data-dir D``.

Makes the database where there is none, with the first admin and merchant that ``up`` would
make, and stops its server at the end; ``standart up --data-dir D`` serves it then.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from datetime import datetime
from pathlib import Path

from sqlalchemy import create_engine, make_url

from benchmarks.fill import AlreadyFilled, Options, fill
from standart import migrations
from standart.config import Settings
from standart.db import make_engine
from standart.embedded import EngineError, Postgres, start_postgres
from standart.embedded.data_dir import tree_secrets
from standart.embedded.preparation import make_first_users
from standart.encryption import Keyring


def main(arguments: list[str] | None = None) -> int:
    """Fill, and say what was made; return the exit code."""
    options, folder = _options(arguments)
    try:
        # What is lost with the machine while it is made is made anew.
        postgres = start_postgres(folder, durable=False)
    except (EngineError, OSError) as error:
        print(f"fill: {error}", file=sys.stderr)
        return 1
    try:
        _fill(postgres, folder, options)
    except AlreadyFilled:
        print("fill: this database has been filled before", file=sys.stderr)
        return 1
    finally:
        postgres.stop()
    return 0


def _fill(postgres: Postgres, folder: Path, options: Options) -> None:
    secrets = tree_secrets(folder, {})
    keyring = Keyring.parse(secrets["STANDART_ENCRYPTION_KEYS"])
    owner = make_engine(postgres.owner_url, pool_size=1)
    migrations.upgrade(owner, postgres.app_url)
    settings = Settings.from_env(
        {"DATABASE_URL": postgres.app_url, "REDIS_URL": "redis://127.0.0.1:6379/0", **secrets}
    )
    first = make_first_users(owner, keyring, settings)
    owner.dispose()
    if first is not None:
        print(f"admin {first.admin} with password {first.password}")
        print(f"merchant {first.merchant} with API key {first.api_key}")
    database = make_url(postgres.app_url).database
    superuser = create_engine(make_url(postgres.superuser_url).set(database=database))
    began = time.monotonic()
    print(f"until {options.until.isoformat()}", flush=True)
    fill(
        superuser,
        keyring,
        options,
        lambda step: print(f"{time.monotonic() - began:8.1f} s  {step}", flush=True),
    )
    superuser.dispose()


def _options(arguments: list[str] | None) -> tuple[Options, Path]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fill",
        description=__doc__,
        epilog="A million movements of one merchant: --transactions 1000000 --merchants 1"
        " --confirmed 1 --canceled 0 --pending 0",
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="as of `standart up`")
    defaults = Options()
    for each in dataclasses.fields(Options):
        value = getattr(defaults, each.name)
        kind = datetime.fromisoformat if isinstance(value, datetime) else type(value)
        shown = "now" if isinstance(value, datetime) else value
        parser.add_argument(
            f"--{each.name.replace('_', '-')}",
            type=kind,
            default=value,
            help=f"default {shown}; see benchmarks/fill/options.py",
        )
    given = vars(parser.parse_args(arguments))
    folder: Path = given.pop("data_dir")
    return Options(**given), folder.absolute()


if __name__ == "__main__":
    sys.exit(main())
