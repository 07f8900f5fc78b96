"""Servers and clients of TLS for tests, with OpenSSL on their side of the connection."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import traceback

from tests.running import talking
from tests.waiting import PATIENCE


def server_context(pair, **settings):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    pair.load(context)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def secured(context, raw):
    """The server's side of TLS on *raw*; no socket is left open where the client has reset by now, as CPython does."""
    try:
        return context.wrap_socket(raw, server_side=True)
    except OSError as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if isinstance(lost := frame.f_locals.get("self"), ssl.SSLSocket):
                lost.close()
        raise


def serving(context, talk):
    """A server that has *talk* with each client, in a thread; with TLS if there is a *context*. Its address."""

    def talk_inside(raw):
        with secured(context, raw) as stream:
            stream.settimeout(PATIENCE)
            talk(stream)

    return talking(talk_inside if context else talk)


def echo(stream):
    """Send back what comes, up to the end of the stream, and end too."""
    while data := stream.recv(65536):
        stream.sendall(data)
    end(stream)


def end(stream):
    with contextlib.suppress(OSError):
        stream.unwrap() if isinstance(stream, ssl.SSLSocket) else stream.shutdown(socket.SHUT_WR)


def read_all(client):
    received = bytearray()
    while data := client.recv(1 << 16):
        received += data
    return bytes(received)


class TlsPeer:
    """`ssl.SSLObject` over a raw socket: it can end one direction alone, and tells a reset from an end.

    SSLSocket does neither.
    """

    def __init__(self, raw, context, name=None):
        self.raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=name is None, server_hostname=name)
        self.notified = False
        """close_notify has come."""
        self._do(self.object.do_handshake)

    def _flush(self):
        if data := self._outgoing.read():
            self.raw.sendall(data)

    def _do(self, call, *arguments):
        while True:
            try:
                result = call(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                data = self.raw.recv(1 << 16)
                self._incoming.write(data) if data else self._incoming.write_eof()
            else:
                self._flush()
                return result

    def sendall(self, data):
        view = memoryview(data)
        for at in range(0, len(view), 1 << 16):
            self.object.write(view[at : at + (1 << 16)])
            self._flush()

    def recv(self, size):
        try:
            data = self._do(self.object.read, size)
        except ssl.SSLZeroReturnError:
            data = b""
        except ssl.SSLEOFError:  # without close_notify
            return b""
        self.notified = self.notified or not data
        return data

    def end(self):
        """Send close_notify, and go on reading."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.unwrap()
        self._flush()

    def exchange(self, data):
        """Send *data* and the end, reading all the while; everything that came up to the other end."""
        received, view, ended = bytearray(), memoryview(data), False
        unsent = b""
        self.raw.setblocking(False)
        try:
            while True:
                if not unsent and view:
                    self.object.write(view[: 1 << 16])
                    view = view[1 << 16 :]
                elif not unsent and not ended:
                    ended = True
                    with contextlib.suppress(ssl.SSLWantReadError):
                        self.object.unwrap()
                unsent += self._outgoing.read()
                _, writable, _ = select.select([self.raw], [self.raw] if unsent else [], [], PATIENCE)
                if writable:
                    unsent = unsent[self.raw.send(unsent) :]
                with contextlib.suppress(BlockingIOError):
                    data = self.raw.recv(1 << 16)
                    self._incoming.write(data) if data else self._incoming.write_eof()
                try:
                    while data := self.object.read(1 << 16):
                        received += data
                except ssl.SSLWantReadError:
                    continue
                except ssl.SSLZeroReturnError:
                    pass
                except ssl.SSLEOFError:
                    return bytes(received)
                self.notified = True
                return bytes(received)
        finally:
            self.raw.settimeout(PATIENCE)


class TlsClient(TlsPeer):
    """A client of *address* that asks for the server *name*."""

    def __init__(self, address, context, name="localhost"):
        raw = socket.create_connection(address, PATIENCE)
        try:
            super().__init__(raw, context, name)
        except OSError:
            raw.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.close()
