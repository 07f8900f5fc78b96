"""memcached's text, meta and binary protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from vaurien.framing import Head, Protocol, Reply
from vaurien.protocols._options import BUFFER, Buffer, KeepAlive, ReuseSocket
from vaurien.protocols.memcache import binary, text
from vaurien.protocols.memcache.framer import MemcacheFramer

if TYPE_CHECKING:
    from vaurien.chance import Random

# Of each failure, memcached's status in the binary protocol and its words, which the text protocol has alone.
_FAILURES: Mapping[str, tuple[int, str]] = {
    "out-of-memory": (0x82, "out of memory storing object"),
    "internal": (0x84, "internal error"),
    "busy": (0x85, "busy"),
    "temporary": (0x86, "temporary failure"),
}


class MemcacheProtocol(Protocol, frozen=True):
    """memcached's commands, in text, meta and binary form. An exchange is a command and all that answers it.

    Errors are memcached's own: ``SERVER_ERROR`` in text, a status with the request's opcode and opaque in binary.
    That of ``mn`` begins with ``ERROR``: another error before ``MN`` is that of a quiet command.
    """

    keep_alive: KeepAlive = True
    reuse_socket: ReuseSocket = False
    buffer: Buffer = BUFFER

    error_codes: ClassVar[tuple[str, ...]] = tuple(_FAILURES)
    fields: ClassVar[tuple[str, ...]] = ("command", "key")

    def framer(self) -> MemcacheFramer:
        return MemcacheFramer()

    def codes_by_chance(self, head: Head) -> Sequence[str]:
        """All of them."""
        return self.error_codes

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """A failure of the server, in the language of *head*; nothing for a command with ``noreply``, or ``quit``.

        Raises `OptionError` for another code than these.
        """
        code = random.choice(self.codes_by_chance(head)) if code is None else code
        self.check_code(code)
        status, usual = _FAILURES[code]
        words = usual if message is None else message
        if head.data.startswith(binary.REQUEST):
            return Reply(binary.failure(head.data, status, words.encode()))
        if text.silent(head):
            return Reply(b"")
        return Reply(b"%s %s\r\n" % (text.failure(head), words.encode()))
