"""TLS over bytes in memory, and its settings."""

from __future__ import annotations

import contextlib
import ssl
from functools import lru_cache


class Tls:
    """The client's side of TLS over bytes in memory; ``host`` is the name or address to verify."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.ready = False

    def handshake(self, data: bytes = b"") -> None:
        """Go on with the handshake; ``ready`` says whether it is over. Raises ssl.SSLError."""
        self._incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._ssl.do_handshake()
            self.ready = True

    def decrypt(self, data: bytes) -> tuple[bytes, bool]:
        """Return what the peer says, and whether it has said goodbye; raises ssl.SSLError."""
        self._incoming.write(data)
        plain = bytearray()
        try:
            while piece := self._ssl.read(65536):
                plain += piece
        except ssl.SSLWantReadError:
            return bytes(plain), False
        except ssl.SSLZeroReturnError:
            pass
        return bytes(plain), True

    def encrypt(self, data: bytes) -> bytes:
        """Return ``data`` as records for the wire."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._ssl.write(rest) :]
        return self._outgoing.read()

    def outgoing(self) -> bytes:
        """Return what TLS itself has to say: handshake, alerts, key updates."""
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Return the alert that ends the connection."""
        with contextlib.suppress(ssl.SSLError):
            self._ssl.unwrap()
        return self._outgoing.read()


@lru_cache(maxsize=1)
def verified_tls() -> ssl.SSLContext:
    """Return the TLS settings: 1.2 or later, certificate and name verified, no renegotiation.

    Trusts the system's authorities (``SSL_CERT_FILE`` of OpenSSL names others), read once.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context
