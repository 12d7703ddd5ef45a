"""Rules of the house that no linter knows, read from the source itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint

import standart
from standart import migrations
from standart.db import Base

PACKAGE = Path(standart.__file__).parent
ROOT = PACKAGE.parent
VERSIONS = PACKAGE / "migrations" / "versions"

MODULE_LINES = 500
FUNCTION_LINES = 60

# Written by Alembic from the models: long lists of columns.
GENERATED = {VERSIONS / f"{name}.py" for name in ("0001_initial", "0003_movements", "0004_books")}

SOURCES = {
    path: ast.parse(path.read_text(encoding="utf-8"), str(path))
    for path in sorted(PACKAGE.rglob("*.py"))
}


def found(matches: Callable[[ast.AST], bool]) -> Iterator[tuple[str, str, int]]:
    """Yield (module, innermost function, line) of every matching node of the package."""
    for path, tree in SOURCES.items():
        module = path.relative_to(PACKAGE).with_suffix("").as_posix()
        functions = [
            node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda)
        ]
        for node in ast.walk(tree):
            if matches(node):
                line = node.lineno
                around = [
                    each
                    for each in functions
                    if each.lineno <= line <= (each.end_lineno or each.lineno)
                ]
                innermost = max(around, key=lambda each: each.lineno, default=None)
                yield module, getattr(innermost, "name", ""), line


def calls_method(*names: str) -> Callable[[ast.AST], bool]:
    def matches(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in names
        )

    return matches


def test_only_the_unit_of_work_commits() -> None:
    committing = {(module, name) for module, name, _ in found(calls_method("commit"))}
    assert committing == {("db", "transaction")}


def test_no_transaction_is_begun_beside_the_unit_of_work() -> None:
    """``engine.begin()`` commits by itself: only the foundation and migrations hold their own."""
    beginning = {module for module, _, _ in found(calls_method("begin", "begin_nested"))}
    assert beginning <= {"db", "migrations/__init__"}


def test_only_services_set_the_status_of_a_transaction() -> None:
    def knows_transactions(node: ast.AST) -> bool:
        return isinstance(node, ast.ImportFrom) and any(
            alias.name == "Transaction" for alias in node.names
        )

    def writes_status(node: ast.AST) -> bool:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        return any(
            isinstance(target, ast.Attribute) and target.attr == "status" for target in targets
        )

    def updates_transactions(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and "update transactions" in node.value.lower()
        )

    knowing = {module for module, _, _ in found(knows_transactions)}
    writing = {module for module, _, _ in found(writes_status)}
    updating = {module for module, _, _ in found(updates_transactions)}

    assert {each for each in knowing & writing if not each.startswith("services/")} == set()
    assert updating == {"services/transaction_sql"}


def test_the_clock_and_uuids_are_asked_in_one_place() -> None:
    forbidden = {
        "datetime": {"now", "utcnow", "today"},
        "date": {"today"},
        "time": {"time", "time_ns"},
        "uuid": {"uuid1", "uuid3", "uuid4", "uuid5", "uuid6", "uuid7"},
    }
    imported = {("time", "time"), ("time", "time_ns")} | {
        ("uuid", name) for name in forbidden["uuid"]
    }

    def asks(node: ast.AST) -> bool:
        if isinstance(node, ast.ImportFrom):
            return any((node.module, alias.name) in imported for alias in node.names)
        if not isinstance(node, ast.Attribute):
            return False
        owner = node.value
        name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
        return node.attr in forbidden.get(name, ())

    # The sender stands beside the clock and imports nothing of the house but errors: it reads
    # the time once, for a Retry-After that is a date.
    assert {module for module, _, _ in found(asks)} == {"clock", "webhooks/sender"}


IGNORED_CONFLICT = re.compile(
    r"INSERT INTO (\w+)(?:(?!INSERT INTO).)*?ON CONFLICT (\([^)]*\) )?DO NOTHING", re.DOTALL
)


def test_an_insert_that_may_find_its_row_there_names_no_key_among_several() -> None:
    """A conflict with a key that is not named is an error, whatever the named one would say.

    Of two inserts of one row in one moment the second may meet the first at any unique key:
    https://www.postgresql.org/docs/15/sql-insert.html#SQL-ON-CONFLICT
    """
    written = {
        (found_there.group(1), bool(found_there.group(2)))
        for path in SOURCES
        for found_there in IGNORED_CONFLICT.finditer(path.read_text(encoding="utf-8"))
    }
    assert ("payouts", False) in written, "the search found nothing"
    keys = {
        name: [
            each
            for each in (*table.constraints, *table.indexes)
            if isinstance(each, PrimaryKeyConstraint | UniqueConstraint)
            or getattr(each, "unique", False)
        ]
        for name, table in Base.metadata.tables.items()
    }
    assert {name for name, named in written if named and len(keys[name]) > 1} == set()


def test_there_is_one_migration_head_and_every_revision_goes_back() -> None:
    scripts = ScriptDirectory.from_config(migrations.config_for())

    assert scripts.get_heads() == [migrations.head()]
    revisions = list(scripts.walk_revisions())
    assert len(revisions) == len(list(VERSIONS.glob("[0-9]*.py")))
    for revision in revisions:
        tree = ast.parse(Path(revision.path).read_text(encoding="utf-8"))
        bodies = {node.name: node.body for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not isinstance(bodies["downgrade"][0], ast.Pass | ast.Raise), revision.path


def tasks_by_function() -> dict[str, str]:
    """Function name → task name, as the decorators say."""
    tree = SOURCES[PACKAGE / "tasks.py"]
    tasks = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and "shared_task" in ast.unparse(decorator):
                    [name] = [each.value for each in decorator.keywords if each.arg == "name"]
                    assert isinstance(name, ast.Constant)
                    tasks[node.name] = str(name.value)
    return tasks


def test_every_task_is_on_the_timetable_and_runs_where_the_worker_listens() -> None:
    from standart.tasks import schedule

    tasks = tasks_by_function()
    timetable = schedule(5, 60)

    assert {entry["task"] for entry in timetable.values()} == set(tasks.values())
    assert timetable["standart.expire"]["schedule"] == 5
    assert timetable["standart.seal"]["schedule"] == 60
    for entry in timetable.values():
        assert set(entry) == {"task", "schedule"}, "a queue or an expiry of its own is lost work"
        assert entry["schedule"] > 0
    assert len(tasks) >= 4


def test_no_task_chooses_another_queue() -> None:
    def routes(node: ast.AST) -> bool:
        return isinstance(node, ast.keyword) and node.arg in (
            "queue",
            "queues",
            "routing_key",
            "exchange",
            "task_routes",
        )

    assert {module for module, _, _ in found(routes)} == set()


def test_the_worker_listens_to_the_queue_that_tasks_go_to() -> None:
    def names_default_queue(node: ast.AST) -> bool:
        return isinstance(node, ast.keyword) and node.arg == "task_default_queue"

    assert [module for module, _, _ in found(names_default_queue)] == ["extensions"]


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path not in GENERATED], ids=lambda path: path.name
)
def test_modules_and_functions_stay_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    long_functions = {
        node.name: length
        for node in ast.walk(SOURCES[path])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    }

    assert lines <= MODULE_LINES
    assert long_functions == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path, tree in SOURCES.items()
        if tree.body and not ast.get_docstring(tree)
    ]
    assert silent == []
