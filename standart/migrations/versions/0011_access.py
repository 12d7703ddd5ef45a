"""Access: operators and viewers, second factors, logins that prove themselves anew.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ROLES = ("admin", "operator", "viewer", "regular")
FORMER_ROLES = ("admin", "regular")

# An operator may agree to all but adjustments, so its consent counts, also against another.
CONSENTING = """u.active
            AND (u.role = 'admin' OR u.role = 'operator' AND NEW.object_type <> 'adjustment')"""
CONSENTING_BEFORE = "u.active AND u.role = 'admin'"

# Nobody gains a right by going back: who was of the staff is let in by an admin again.
FORMER_STAFF = """
UPDATE users SET role = 'regular', active = false WHERE role IN ('operator', 'viewer')
"""
ENDED = "DELETE FROM panel_sessions s USING users u WHERE u.id = s.user_id AND NOT u.active"

NOW = sa.text("clock_timestamp()")


def _owner() -> sa.Column[object]:
    return sa.Column("user_id", sa.Uuid(), nullable=False)


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=NOW, nullable=False)


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=op.f(f"fk_{table}_users"), ondelete="RESTRICT"
    )


def upgrade() -> None:
    _replace_roles(ROLES)
    guards = import_module("standart.migrations.versions.0005_book_guards")
    hands = _again(guards.TWO_PAIRS_OF_HANDS)
    op.execute(hands.replace(CONSENTING_BEFORE, CONSENTING))
    op.add_column(
        "panel_sessions",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
    )
    op.create_unique_constraint(op.f("uq_panel_sessions_id"), "panel_sessions", ["id"])
    # Those that are open were opened by a password, at their beginning.
    op.add_column("panel_sessions", _moment("proven_at"))
    op.execute("UPDATE panel_sessions SET proven_at = created_at")
    op.add_column(
        "login_failures",
        sa.Column(
            "step",
            sa.Enum("password", "code", name="step", native_enum=False, length=32),
            server_default=sa.text("'password'"),
            nullable=False,
        ),
    )
    op.create_check_constraint(
        op.f("ck_login_failures_step"), "login_failures", "step IN ('password', 'code')"
    )
    _create_steps()
    _create_factors()
    _create_preferences()


def _create_steps() -> None:
    op.create_table(
        "pending_logins",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        _owner(),
        sa.Column("made_by", sa.ARRAY(sa.Uuid()), server_default=sa.text("'{}'"), nullable=False),
        _moment("created_at"),
        _of_user("pending_logins"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_pending_logins")),
    )
    op.create_index("ix_pending_logins_user_id", "pending_logins", ["user_id"])


def _create_factors() -> None:
    op.create_table(
        "second_factors",
        _owner(),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        _moment("created_at"),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("last_step >= 0", name=op.f("ck_second_factors_last_step_not_negative")),
        _of_user("second_factors"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factors")),
    )
    op.create_table(
        "recovery_codes",
        _owner(),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        _moment("created_at"),
        sa.CheckConstraint(
            "octet_length(digest) = 32", name=op.f("ck_recovery_codes_digest_is_sha256")
        ),
        _of_user("recovery_codes"),
        sa.PrimaryKeyConstraint("user_id", "digest", name=op.f("pk_recovery_codes")),
    )


def _create_preferences() -> None:
    op.create_table(
        "panel_preferences",
        _owner(),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column(
            "theme",
            sa.Enum(
                "light",
                "dark",
                name="theme",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.CheckConstraint(
            "locale IN ('ru', 'en')", name=op.f("ck_panel_preferences_locale_known")
        ),
        sa.CheckConstraint(
            "char_length(timezone) BETWEEN 1 AND 64",
            name=op.f("ck_panel_preferences_timezone_length"),
        ),
        _of_user("panel_preferences"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_panel_preferences")),
    )


def downgrade() -> None:
    for table in ("panel_preferences", "recovery_codes", "second_factors", "pending_logins"):
        op.drop_table(table)
    op.drop_column("login_failures", "step")
    op.drop_column("panel_sessions", "proven_at")
    op.drop_column("panel_sessions", "id")
    guards = import_module("standart.migrations.versions.0005_book_guards")
    op.execute(_again(guards.TWO_PAIRS_OF_HANDS))
    op.execute(FORMER_STAFF)
    op.execute(ENDED)
    _replace_roles(FORMER_ROLES)


def _replace_roles(roles: tuple[str, ...]) -> None:
    """Let ``users.role`` hold ``roles``; the rows are few, so they are checked at once."""
    op.drop_constraint(op.f("ck_users_role"), "users", type_="check")
    listed = ", ".join(f"'{role}'" for role in roles)
    op.create_check_constraint(op.f("ck_users_role"), "users", f"role IN ({listed})")


def _again(function: str) -> str:
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
