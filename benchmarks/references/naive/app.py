"""The reference: a payment service as it is usually written with Flask and an ORM.

Nothing here is slowed down on purpose. It checks the API key, loads its user, honours the
Idempotency-Key, adds the transaction with the user's commission and commits once: what most
tutorials end with, plus idempotency. It shares no code with Standart.

Run by ``gunicorn -w 2 app:app`` with ``DATABASE_URL``; ``python app.py`` creates the tables
and a merchant, and prints the merchant's API key.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from flask import Flask, Response, jsonify, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, ForeignKey, Numeric, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
db = SQLAlchemy(app)


def utcnow() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class User(db.Model):
    """A merchant."""

    __tablename__ = "users"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(unique=True)
    commission_rate: Mapped[Decimal] = mapped_column(Numeric(7, 6))
    active: Mapped[bool] = mapped_column(default=True)


class ApiKey(db.Model):
    """A key of a merchant, kept as SHA-256."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    user: Mapped[User] = relationship()


class Transaction(db.Model):
    """A payment."""

    __tablename__ = "transactions"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    amount: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    commission: Mapped[Decimal] = mapped_column(Numeric(18, 2))
    currency: Mapped[str]
    reference: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="pending", index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    def to_dict(self) -> dict[str, str | None]:
        """Return what the API shows."""
        return {
            "id": str(self.id),
            "user_id": str(self.user_id),
            "amount": str(self.amount),
            "commission": str(self.commission),
            "currency": self.currency,
            "reference": self.reference,
            "status": self.status,
            "created_at": self.created_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
        }


class IdempotencyKey(db.Model):
    """A request that was answered, with its answer."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("user_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    key: Mapped[str]
    request_hash: Mapped[str]
    status: Mapped[int]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=utcnow)


def error(status: int, message: str) -> tuple[Response, int]:
    """Return an error as JSON."""
    return jsonify({"error": message}), status


def authenticate() -> User | None:
    """Return the active user whose key the request carries."""
    header = request.headers.get("Authorization", "")
    digest = hashlib.sha256(header.removeprefix("Bearer ").encode()).hexdigest()
    api_key = ApiKey.query.filter_by(digest=digest).first()
    if api_key is None or not api_key.user.active:
        return None
    return api_key.user


@app.post("/create_transaction")
def create_transaction() -> Response | tuple[Response, int]:
    """Create a pending transaction, or repeat the answer of its idempotency key."""
    user = authenticate()
    if user is None:
        return error(401, "invalid API key")

    key = request.headers.get("Idempotency-Key")
    request_hash = hashlib.sha256(request.get_data()).hexdigest()
    if key is not None:
        seen = IdempotencyKey.query.filter_by(user_id=user.id, key=key).first()
        if seen is not None:
            if seen.request_hash != request_hash:
                return error(422, "the idempotency key was used with another request")
            return Response(seen.body, seen.status, mimetype="application/json")

    payload = request.get_json()
    try:
        amount = Decimal(payload["amount"]).quantize(Decimal("0.01"))
    except (KeyError, TypeError, InvalidOperation):
        return error(422, "the amount is missing or malformed")
    if amount <= 0:
        return error(422, "the amount must be positive")

    created_at = utcnow()
    transaction = Transaction(
        user_id=user.id,
        amount=amount,
        commission=(amount * user.commission_rate).quantize(Decimal("0.01"), ROUND_HALF_UP),
        currency=payload.get("currency", "RUB"),
        reference=payload.get("reference"),
        created_at=created_at,
        expires_at=created_at + timedelta(minutes=15),
    )
    db.session.add(transaction)
    db.session.flush()
    response = jsonify(transaction.to_dict())
    response.status_code = 201
    if key is not None:
        db.session.add(
            IdempotencyKey(
                user_id=user.id,
                key=key,
                request_hash=request_hash,
                status=201,
                body=response.get_data(as_text=True),
            )
        )
    db.session.commit()
    return response


def main() -> None:
    """Create the tables and a merchant; print the merchant's API key."""
    key = secrets.token_urlsafe(32)
    with app.app_context():
        db.create_all()
        user = User(name=f"merchant-{key[:6]}", commission_rate=Decimal("0.03"))
        db.session.add(user)
        db.session.flush()
        db.session.add(ApiKey(digest=hashlib.sha256(key.encode()).hexdigest(), user_id=user.id))
        db.session.commit()
    print(key)


if __name__ == "__main__":
    main()
