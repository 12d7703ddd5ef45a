"""What makes the books provable: the chain of seals, closed periods, names of former days, keys."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from standart.db import Base, UtcDateTime
from standart.models.columns import written_at

MARK_BYTES = 8
"""How much of the SHA-256 of each sealed journal's line a seal keeps, to name what changed."""


class BookClock(Base):
    """One row: no journal that is written from now on is dated before ``dated_from``.

    It is raised before what lies below it is sealed, so a clock that is set back cannot put
    a journal among those that are sealed already.
    """

    __tablename__ = "book_clock"
    __table_args__ = (
        PrimaryKeyConstraint("single"),
        CheckConstraint("single", name="one_row"),
    )

    single: Mapped[bool] = mapped_column(server_default=text("true"))
    dated_from: Mapped[datetime] = mapped_column(
        UtcDateTime, server_default=text("'1970-01-01T00:00:00Z'")
    )


class Seal(Base):
    """A link of the chain: over all journals dated before ``before`` that no seal has yet.

    ``content`` is the SHA-256 of their canonical lines, in order; ``hash`` that of the seal
    itself, the ``previous`` hash included (``services/chain.py``). ``total`` counts all journals
    sealed so far. ``marks`` holds some bytes for each journal, by which a changed one is found.
    """

    __tablename__ = "seals"
    __table_args__ = (
        PrimaryKeyConstraint("number"),
        UniqueConstraint("before"),
        CheckConstraint("number > 0 AND journals > 0", name="counts_positive"),
        CheckConstraint(
            "octet_length(previous) = 32 AND octet_length(content) = 32"
            " AND octet_length(hash) = 32",
            name="hashes_are_sha256",
        ),
        CheckConstraint(f"octet_length(marks) = {MARK_BYTES} * journals", name="mark_for_each"),
    )

    number: Mapped[int] = mapped_column(BigInteger, autoincrement=False)
    before: Mapped[datetime] = mapped_column(UtcDateTime)
    journals: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[int] = mapped_column(BigInteger)
    previous: Mapped[bytes] = mapped_column(LargeBinary)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    marks: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_at: Mapped[datetime] = written_at()


class Close(Base):
    """A day or month that is closed: nothing will ever be posted in it again.

    Half-open from ``starts_at`` to ``ends_at``, as the calendar of ``zone`` has the period.
    ``digest`` is the SHA-256 of its journals' canonical lines; the seal is the chain's head
    when it was closed, absent where nothing had been posted at all.
    """

    __tablename__ = "closes"
    __table_args__ = (
        PrimaryKeyConstraint("number"),
        UniqueConstraint("period"),
        CheckConstraint("period ~ '^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$'", name="period_name"),
        CheckConstraint("zone ~ '^[A-Za-z0-9_+/-]{1,64}$'", name="zone_name"),
        CheckConstraint("starts_at < ends_at", name="starts_before_end"),
        CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
        CheckConstraint("(seal_number IS NULL) = (seal_hash IS NULL)", name="whole_anchor"),
        Index("ix_closes_ends_at", "ends_at"),
    )

    number: Mapped[int] = mapped_column(BigInteger, autoincrement=False)
    period: Mapped[str] = mapped_column(Text)
    zone: Mapped[str] = mapped_column(Text)
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    journals: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    seal_number: Mapped[int | None] = mapped_column(ForeignKey("seals.number", ondelete="RESTRICT"))
    seal_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    closed_by: Mapped[str] = mapped_column(Text)
    closed_at: Mapped[datetime] = written_at()


class Particulars(Base):
    """What a user was called and where its days began, since when; written by a trigger.

    A statement of a closed period shows them as they were at the close.
    """

    __tablename__ = "particulars"
    __table_args__ = (PrimaryKeyConstraint("user_id", "number"),)

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    timezone: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime] = written_at()


class SigningKey(Base):
    """An ed25519 key that signs receipts; the public half is served for ever.

    ``id`` is the beginning of the public half's SHA-256. ``private_key`` is sealed by the key
    ring; a retired key has none any more, so nothing can be signed with it later.
    """

    __tablename__ = "signing_keys"
    __table_args__ = (
        PrimaryKeyConstraint("id"),
        CheckConstraint("octet_length(public_key) = 32", name="public_key_is_ed25519"),
        CheckConstraint(
            "id = substr(encode(sha256(public_key), 'hex'), 1, 16)", name="id_of_its_key"
        ),
        CheckConstraint(
            "(retired_at IS NULL) = (private_key IS NOT NULL)", name="private_until_retired"
        ),
        CheckConstraint("retired_at >= created_at", name="retired_after_creation"),
        Index(
            "uq_signing_keys_current",
            text("(retired_at IS NULL)"),
            unique=True,
            postgresql_where=text("retired_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(Text)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    private_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = written_at()
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
