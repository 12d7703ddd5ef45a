"""`standart up` on a data dir of its own, as a user starts, kills and starts it again."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from standart.db import make_engine
from tests.acceptance.client import Client
from tests.acceptance.processes import (
    Commands,
    Running,
    commands,
    kill_tree,
    nothing_left,
    until,
)
from tests.ports import free_port

ADMIN = "admin"
MERCHANT = "shop"


@dataclass(frozen=True)
class Shop:
    """The merchant of a tree, and the operator's key that confirms for it."""

    id: str
    key: str
    webhook_secret: str
    operator_key: str


class Tree:
    """A data dir, and the `up` that runs on it now."""

    def __init__(self, starter: Commands, data_dir: Path, **settings: str) -> None:
        self.starter = starter
        self.data_dir = data_dir
        self.settings = {
            "STANDART_DATA_DIR": str(data_dir),
            "STANDART_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "STANDART_EXPIRY_SWEEP_SECONDS": "1",
            "STANDART_LOG_FORMAT": "json",
            **settings,
        }
        self.port = free_port()
        self.running: Running | None = None
        self.shop = Shop("", "", "", "")

    def start(self, **settings: str) -> None:
        """Start the tree and wait for its own word that it is ready."""
        arguments = ["up", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        tree = self.starter.start(arguments, self.settings | settings)
        self.running = tree
        until(lambda: "\nready " in tree.said or tree.process.poll() is not None, "ready")
        assert f"\nready http://127.0.0.1:{self.port}\n" in tree.said, tree.said + tree.logged

    def stop(self) -> None:
        assert self.running
        assert self.running.stop() == 0, self.running.logged

    def kill(self, chance: random.Random) -> int:
        assert self.running
        return kill_tree(self.running, self.data_dir, chance)

    def open_shop(self, webhook_url: str | None = None) -> Shop:
        """Create a merchant and the keys, by the commands that an operator uses."""
        arguments = ["create-user", MERCHANT, "--commission-rate", "0.03", "--json"]
        if webhook_url:
            arguments += ["--webhook-url", webhook_url]
        user = json.loads(self.command(*arguments))
        scopes = [part for scope in ("read", "write", "confirm") for part in ("--scope", scope)]
        self.shop = Shop(
            id=user["id"],
            key=self.command("create-api-key", MERCHANT).strip(),
            webhook_secret=user["webhook_secret"],
            operator_key=self.command("create-api-key", ADMIN, *scopes).strip(),
        )
        return self.shop

    def command(self, *arguments: str) -> str:
        """Run a command beside the tree; it finds the engines by the data dir."""
        return self.starter.run(arguments, self.settings)

    @property
    def merchant(self) -> Client:
        return Client(self.port, self.shop.key)

    @property
    def operator(self) -> Client:
        return Client(self.port, self.shop.operator_key)

    def published(self) -> dict[str, str]:
        lines = (self.data_dir / "environment").read_text().splitlines()
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        return {name: value.strip("'\"") for name, _, value in pairs}

    @contextmanager
    def database(self) -> Iterator[Engine]:
        """The application's role on the tree's database."""
        engine = make_engine(self.published()["DATABASE_URL"], pool_size=2)
        try:
            yield engine
        finally:
            engine.dispose()

    @property
    def secrets(self) -> list[str]:
        """Everything that must not stand in a log."""
        published = self.published()
        urls = (published["DATABASE_URL"], published["STANDART_MIGRATION_DATABASE_URL"])
        passwords = [re.findall(r"//[^:]*:([^@]+)@", url)[0] for url in urls]
        key_texts = published["STANDART_ENCRYPTION_KEYS"].split(",")
        return [
            *passwords,
            re.findall(r"//:([^@]+)@", published["REDIS_URL"])[0],
            published["SECRET_KEY"],
            *(text.partition(":")[2] for text in key_texts),
            self.shop.key,
            self.shop.operator_key,
            self.shop.webhook_secret.removeprefix("whsec_"),
        ]

    @property
    def logs(self) -> list[Path]:
        """What the tree's processes and engines have logged; not the once-shown secrets."""
        engine_logs = [self.data_dir / "postgres" / "log", self.data_dir / "valkey" / "log"]
        return [*self.starter.logs, *engine_logs]


@contextmanager
def planted(folder: Path, **settings: str) -> Iterator[Tree]:
    """A tree on a new data dir; on the way out all its processes end."""
    data_dir = folder / "data"
    with nothing_left(data_dir), commands(folder) as starter:
        yield Tree(starter, data_dir, **settings)
