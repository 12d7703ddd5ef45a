"""At most so many requests of an API key in a window of time, counted in Redis.

Off unless ``STANDART_RATE_LIMIT`` is set. Redis is a hint here too: when it does not
answer, requests pass, the failure is counted, and Redis is left alone for a second.
"""

from __future__ import annotations

import logging
from typing import Final

import redis
from flask import Flask
from prometheus_client import Counter

from standart.api.auth import LIMITER
from standart.clock import monotonic, timestamp
from standart.errors import TooManyRequests
from standart.observability import REGISTRY
from standart.services.key_service import KeyDigest
from standart.setting_kinds import RateLimit

log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 0.1
PAUSE_SECONDS: Final = 1.0

UNCOUNTED: Final = Counter(
    "standart_rate_limit_failures",
    "Requests that passed uncounted, since Redis did not answer.",
    registry=REGISTRY,
)


class RateLimiter:
    """A fixed window: one counter a key and window, which ends by itself."""

    def __init__(self, limit: RateLimit, redis_url: str) -> None:
        """``redis_url`` is the setting; connections are made when first needed."""
        self._limit = limit
        self._redis = redis.Redis.from_url(
            redis_url.replace("redis+socket://", "unix://", 1),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=None,
        )
        self._paused_until = 0.0

    def count(self, digest: KeyDigest) -> None:
        """Count one request of a key.

        Raises:
            TooManyRequests: the window is used up; says in how many seconds it ends.
        """
        window, elapsed = divmod(timestamp(), self._limit.seconds)
        used = self._used(f"standart:rate:{digest.value.hex()[:32]}:{window}")
        if used > self._limit.count:
            raise TooManyRequests(retry_after=self._limit.seconds - elapsed)

    def _used(self, name: str) -> int:
        """Return how many requests the window has seen with this one, 0 if nobody knows."""
        if monotonic() < self._paused_until:
            UNCOUNTED.inc()
            return 0
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.incr(name)
                pipeline.expire(name, 2 * self._limit.seconds)
                return int(pipeline.execute()[0])
        except redis.RedisError as error:
            self._paused_until = monotonic() + PAUSE_SECONDS
            UNCOUNTED.inc()
            log.warning("the rate limit is not counted: %s", type(error).__name__)
            return 0


def init_app(app: Flask, limit: RateLimit, redis_url: str) -> None:
    """Let ``auth`` count every request of a key; only called where a limit is set."""
    app.extensions[LIMITER] = RateLimiter(limit, redis_url)
