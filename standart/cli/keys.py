"""`standart rotate-encryption-key`: from one key of the ring to the next, in three steps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click
from sqlalchemy import Connection

from standart.cli.base import OPERATOR, Database, Failure, ServiceCommand, database
from standart.config import VARIABLES
from standart.db import autocommit
from standart.embedded.data_dir import kept_key_ring, put_key_in_front
from standart.encryption import VARIABLE, Keyring, generate_key
from standart.services import sealing_service
from standart.setting_sources import ENVIRONMENT_FILE, find

_AGAIN: Final = "then run `standart rotate-encryption-key` again"


@click.command("rotate-encryption-key", cls=ServiceCommand)
@click.option("--dry-run", is_flag=True, help="Only count what hangs on which key.")
@click.option("--new-key", is_flag=True, help="Make another key although the ring has several.")
def rotate_encryption_key(dry_run: bool, new_key: bool) -> None:
    """Seal everything with the newest key, so that older ones can be taken away.

    Without a newer key it makes one first. Then restart all processes with the new key in
    front of the old ones, and run this again: it seals anew what hangs on older keys, while
    the service runs and as often as you like. Exit 0 means that nothing hangs on them any more.
    """
    with database() as base, autocommit(base.engine) as connection:
        ring = base.keyring
        fresh_ring = _not_yet_in_use(base)
        if fresh_ring is not None and not dry_run:
            raise Failure(
                f"the tree still runs without its new key {fresh_ring.kids[0]}; "
                f"restart `standart up`, {_AGAIN}"
            )
        if dry_run:
            for name, count in sealing_service.count_stale(connection, ring).items():
                click.echo(f"{name}: {count} to seal anew")
        elif new_key or len(ring.kids) == 1:
            _need_no_other(connection, ring)
            _make_key(base, ring)
        else:
            for name, count in sealing_service.reseal(connection, OPERATOR, ring).items():
                click.echo(f"{name}: {count} sealed anew")
        left = _show_keys(connection, ring)
    if left:
        raise Failure(f"{left} boxes do not hang on the newest key {ring.kids[0]}")
    if ring.kids[1:]:
        click.echo(
            f"{', '.join(ring.kids[1:])} can be taken out of {VARIABLE}; "
            "keep it with the backups that were made before"
        )


def _show_keys(connection: Connection, ring: Keyring) -> int:
    """Print how many boxes hang on each key; return how many of them are not the newest's."""
    boxes = sealing_service.boxes_by_key(connection)
    for kid in dict.fromkeys([*ring.kids, *sorted(boxes)]):
        known = "newest" if kid == ring.kids[0] else "old" if kid in ring.kids else "missing"
        click.echo(f"key {kid or '(damaged)'} ({known}): {boxes.get(kid, 0)} boxes")
    return sum(count for kid, count in boxes.items() if kid != ring.kids[0])


def _need_no_other(connection: Connection, ring: Keyring) -> None:
    missing = sealing_service.boxes_by_key(connection).keys() - set(ring.kids)
    if missing:
        names = ", ".join(sorted(kid or "(damaged)" for kid in missing))
        raise Failure(f"{VARIABLE} lacks keys that boxes hang on ({names}); add them again first")


def _make_key(base: Database, ring: Keyring) -> None:
    """Make a key and put it where the next start finds it, or say where it belongs.

    Raises:
        Failure: always; the processes must be restarted before anything is sealed with it.
    """
    key = generate_key(_free_name(ring))
    kid = key.partition(":")[0]
    root = _running_tree()
    if root is not None and put_key_in_front(root, key, base.settings.encryption_keys):
        raise Failure(f"the new key {kid} is in {root}/secrets; restart `standart up`, {_AGAIN}")
    click.echo(key)
    raise Failure(
        f"put the new key {kid} above in front of {VARIABLE}, with a comma behind it, "
        f"restart all processes, {_AGAIN}"
    )


def _not_yet_in_use(base: Database) -> Keyring | None:
    """Return the ring that waits for the next start of the running tree, if there is one."""
    root = _running_tree()
    kept = kept_key_ring(root) if root is not None else ""
    present = base.settings.encryption_keys
    return Keyring.parse(kept) if kept.endswith(f",{present}") else None


def _running_tree() -> Path | None:
    """Return the data dir of the `standart up` whose key ring we use."""
    source = find(os.environ, VARIABLES)[VARIABLE].source
    path = Path(source)
    # A bare word says that the variable itself is set.
    return path.parent if path.name == ENVIRONMENT_FILE != source else None


def _free_name(ring: Keyring) -> str:
    number = 2
    while f"k{number}" in ring.kids:
        number += 1
    return f"k{number}"
