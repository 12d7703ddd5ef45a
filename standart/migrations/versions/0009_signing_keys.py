"""Keys that sign receipts: one current, the public halves of all kept for ever.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from standart.db import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# A key is born current. It gets another box of a newer encryption key, or retires and loses
# the box; the rest of it never changes, so what was signed can be checked for ever.
STEP = """
CREATE FUNCTION standart_check_signing_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.retired_at IS NULL AND NEW.created_at <= clock_timestamp() THEN
            RETURN NEW;
        END IF;
    ELSIF (NEW.id, NEW.public_key, NEW.created_at) = (OLD.id, OLD.public_key, OLD.created_at)
      AND OLD.retired_at IS NULL
      AND (
        NEW.retired_at <= clock_timestamp()
        OR NEW.retired_at IS NULL AND length(OLD.private_key) > 2
          AND length(NEW.private_key) > 30 AND get_byte(NEW.private_key, 0) = 1
          AND substr(NEW.private_key, 1, 2 + get_byte(NEW.private_key, 1))
              <> substr(OLD.private_key, 1, 2 + get_byte(OLD.private_key, 1))
      )
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'signing key %: a key is born current, then retires, and no more', NEW.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'signing_key_goes_on';
END $$
"""


def upgrade() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=True),
        sa.Column(
            "created_at",
            UtcDateTime(),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_keys")),
        sa.CheckConstraint(
            "octet_length(public_key) = 32", name=op.f("ck_signing_keys_public_key_is_ed25519")
        ),
        sa.CheckConstraint(
            "id = substr(encode(sha256(public_key), 'hex'), 1, 16)",
            name=op.f("ck_signing_keys_id_of_its_key"),
        ),
        sa.CheckConstraint(
            "(retired_at IS NULL) = (private_key IS NOT NULL)",
            name=op.f("ck_signing_keys_private_until_retired"),
        ),
        sa.CheckConstraint(
            "retired_at >= created_at", name=op.f("ck_signing_keys_retired_after_creation")
        ),
    )
    op.create_index(
        "uq_signing_keys_current",
        "signing_keys",
        [sa.text("(retired_at IS NULL)")],
        unique=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.execute(STEP)
    op.execute(
        "CREATE TRIGGER signing_keys_step BEFORE INSERT OR UPDATE ON signing_keys FOR EACH ROW"
        " EXECUTE FUNCTION standart_check_signing_key()"
    )
    op.execute(
        "CREATE TRIGGER signing_keys_kept BEFORE DELETE OR TRUNCATE ON signing_keys"
        " FOR EACH STATEMENT EXECUTE FUNCTION standart_refuse('history is kept')"
    )


def downgrade() -> None:
    op.drop_table("signing_keys")
    op.execute("DROP FUNCTION standart_check_signing_key()")
