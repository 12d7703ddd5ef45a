"""The payment API as it is usually written: Flask, Flask-SQLAlchemy's ORM, gunicorn.

A program of its own that shares no line with Standart. It does the same job per request,
honestly and typically: finds the API key by its hash, loads the merchant, looks for the
idempotency key, computes the commission in Decimal, adds transaction and kept answer, and
commits once.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from flask import Flask, Response, jsonify, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON, DateTime, ForeignKey, LargeBinary, Numeric, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Declarative base."""


db = SQLAlchemy(model_class=Base)


class User(db.Model):  # type: ignore[name-defined,misc]  # the extension makes the class at run time
    """A merchant."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    commission_rate: Mapped[Decimal] = mapped_column(Numeric(7, 6))
    balance: Mapped[Decimal] = mapped_column(Numeric(18, 2), default=Decimal(0))


class ApiKey(db.Model):  # type: ignore[name-defined,misc]  # as above
    """A bearer key."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id"))
    user: Mapped[User] = relationship()


class Transaction(db.Model):  # type: ignore[name-defined,misc]  # as above
    """A payment."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id"), index=True)
    amount: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    commission: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    status: Mapped[str] = mapped_column(String(16), default="pending", index=True)
    details: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class IdempotencyKey(db.Model):  # type: ignore[name-defined,misc]  # as above
    """A kept answer."""

    __table_args__ = (UniqueConstraint("user_id", "key"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("user.id"))
    key: Mapped[str] = mapped_column(String(255))
    body: Mapped[str] = mapped_column()


def create_app() -> Flask:
    """Return the app on ``NAIVE_DATABASE_URL``."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["NAIVE_DATABASE_URL"]
    db.init_app(app)
    app.add_url_rule("/create_transaction", view_func=create_transaction, methods=["POST"])
    return app


def create_transaction() -> tuple[Response, int]:
    """Create a pending transaction."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    digest = hashlib.sha256(token.encode()).digest()
    key = ApiKey.query.filter_by(digest=digest).first()
    if key is None:
        return jsonify(error="unauthenticated"), 401
    user = key.user
    wanted = request.headers.get("Idempotency-Key")
    if wanted:
        kept = IdempotencyKey.query.filter_by(user_id=user.id, key=wanted).first()
        if kept:
            return Response(kept.body, mimetype="application/json"), 201
    amount = Decimal(request.get_json()["amount"])
    commission = (amount * user.commission_rate).quantize(Decimal("0.01"), ROUND_HALF_UP)
    now = datetime.now(UTC)
    transaction = Transaction(
        id=uuid.uuid4(),
        user_id=user.id,
        amount=amount,
        commission=commission,
        status="pending",
        created_at=now,
        expires_at=now + timedelta(minutes=15),
    )
    db.session.add(transaction)
    body = json.dumps(
        {
            "id": str(transaction.id),
            "amount": str(amount),
            "commission": str(commission),
            "status": "pending",
            "created_at": now.isoformat(),
            "expires_at": transaction.expires_at.isoformat(),
        }
    )
    if wanted:
        db.session.add(IdempotencyKey(user_id=user.id, key=wanted, body=body))
    db.session.commit()
    return Response(body, mimetype="application/json"), 201


def prepare(key: str) -> None:
    """Create tables, one merchant and its key."""
    with create_app().app_context():
        db.create_all()
        user = User(name="bench", commission_rate=Decimal("0.03"))
        db.session.add(user)
        db.session.flush()
        db.session.add(ApiKey(digest=hashlib.sha256(key.encode()).digest(), user_id=user.id))
        db.session.commit()


if __name__ == "__main__":
    prepare(os.environ["NAIVE_KEY"])
