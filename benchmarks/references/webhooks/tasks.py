"""The reference: webhooks as they are usually sent, one Celery task for each.

Nothing here is slowed down on purpose. The task has all it needs in its message, posts with
``requests``, and records what came of it in one commit. It shares no code with Standart.

Run by ``celery -A tasks worker`` with ``BROKER_URL``, ``DATABASE_URL`` and ``WEBHOOK_SECRET``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from typing import Any

import requests
from celery import Celery
from sqlalchemy import create_engine, text

app = Celery("naive", broker=os.environ["BROKER_URL"])
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
engine = create_engine(os.environ["DATABASE_URL"])
key = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))

RECORD = text(
    "INSERT INTO results (event_id, attempt, status, excerpt, duration)"
    " VALUES (:event_id, :attempt, :status, :excerpt, :duration)"
)


@app.task(bind=True, name="send_webhook", max_retries=5)
def send_webhook(self: Any, event_id: str, url: str, body: str) -> None:
    """Post one signed event, record the result, and try again later if it failed."""
    moment = str(int(time.time()))
    signed = hmac.new(key, f"{event_id}.{moment}.{body}".encode(), hashlib.sha256).digest()
    headers = {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": moment,
        "webhook-signature": "v1," + base64.b64encode(signed).decode(),
    }
    started = time.monotonic()
    try:
        answer = requests.post(url, data=body.encode(), headers=headers, timeout=10)
        status, excerpt = answer.status_code, answer.text[:4096]
    except requests.RequestException as error:
        status, excerpt = None, str(error)[:4096]
    with engine.begin() as connection:
        connection.execute(
            RECORD,
            {
                "event_id": event_id,
                "attempt": self.request.retries,
                "status": status,
                "excerpt": excerpt,
                "duration": time.monotonic() - started,
            },
        )
    if status is None or not 200 <= status < 300:
        raise self.retry(countdown=2**self.request.retries)
