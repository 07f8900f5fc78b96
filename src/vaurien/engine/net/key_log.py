"""The secrets of one connection's TLS, for a fault that has to encrypt a record of its own.

OpenSSL tells them to a callback, which Python gives the name of a file alone. Here that is the name of a pipe's end, so
the secrets are in memory and nowhere else: they are read when a record is to be encrypted, and go with the connection.
"""

from __future__ import annotations

import contextlib
import os
import ssl

_ROOM = 65536
"""Bytes of a pipe: many times what a handshake logs."""


class KeyLog:
    """What a context for one connection alone logs. Raises OSError where that cannot be done."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._read, write = os.pipe()
        try:
            os.set_blocking(self._read, False)
            context.keylog_filename = f"/dev/fd/{write}"
        except OSError:
            os.close(self._read)
            raise
        finally:
            os.close(write)
        self._context: ssl.SSLContext | None = context
        self._object: ssl.SSLObject | None = None
        self._encrypt_then_mac = False
        self._secrets: dict[str, tuple[bytes, bytes]] = {}

    def follow(self, spoken: ssl.SSLObject, *, encrypt_then_mac: bool) -> None:
        """*spoken* is the server's side that logs here.

        *encrypt_then_mac*: its client has offered that, which OpenSSL takes.
        """
        self._object, self._encrypt_then_mac = spoken, encrypt_then_mac

    def close(self) -> None:
        """Forget them."""
        self._secrets.clear()
        if self._context is not None:
            self._context.keylog_filename = None  # type: ignore[assignment] # closes its end
            self._context = self._object = None
        if self._read >= 0:
            os.close(self._read)
            self._read = -1

    def seal(self, kind: int, body: bytes, sequence: int, *, handshake: bool, server_random: bytes) -> bytes:
        """See `vaurien.hooks.Connection.seal`."""
        from vaurien.tls import sealing  # it needs the extra

        self._take()
        cipher = self._object.cipher() if self._object is not None else None
        if self._object is None or cipher is None:
            return b""
        label = "SERVER_HANDSHAKE_TRAFFIC_SECRET" if handshake else "SERVER_TRAFFIC_SECRET_0"
        if label in self._secrets:
            return sealing.seal(self._secrets[label][1], cipher[0], sequence, kind, body)
        if "CLIENT_RANDOM" not in self._secrets or not server_random or self._object.version() != "TLSv1.2":
            return b""
        random, master = self._secrets["CLIENT_RANDOM"]
        randoms, first = server_random + random, self._encrypt_then_mac
        return sealing.seal_12(master, randoms, cipher[0], sequence, kind, body, encrypt_then_mac=first)

    def _take(self) -> None:
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._read, _ROOM) if self._read >= 0 else b""
        for line in data.decode("ascii").splitlines():
            label, random, secret = line.split()
            self._secrets[label] = bytes.fromhex(random), bytes.fromhex(secret)
