"""MySQL and MariaDB: the classic client/server protocol."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar

from vaurien import tls
from vaurien.errors import VaurienError
from vaurien.framing import Framer, Head, Protocol, Reply
from vaurien.framing.starttls import TlsOffer, TlsWords
from vaurien.protocols._options import BUFFER, Buffer
from vaurien.protocols.mysql.framer import MysqlFramer, MysqlRequest
from vaurien.protocols.mysql.packets import error_packet
from vaurien.protocols.mysql.tls_offer import MysqlTlsOffer, MysqlTlsWords

if TYPE_CHECKING:
    from vaurien.chance import Random

_REFUSALS = {
    "1040": ("08004", "Too many connections"),
    "1129": ("HY000", "Host is blocked because of many connection errors"),
    "1203": ("42000", "User already has more than 'max_user_connections' active connections"),
}
_FAILURES = {
    "1041": ("HY000", "Out of memory"),
    "1205": ("HY000", "Lock wait timeout exceeded; try restarting transaction"),
    "1213": ("40001", "Deadlock found when trying to get lock; try restarting transaction"),
    "1290": ("HY000", "The MySQL server is running with the --read-only option so it cannot execute this statement"),
    "1317": ("70100", "Query execution was interrupted"),
}
_LOSSES = {
    "1053": ("08S01", "Server shutdown in progress"),
    "1927": ("70100", "Connection was killed"),
    "2013": ("HY000", "Lost connection to MySQL server during query"),
}
_ERRORS = _REFUSALS | _FAILURES | _LOSSES


class Mysql(Protocol, frozen=True):
    """MySQL and MariaDB. An exchange is a command and everything that answers it; connecting is the first of them.

    A connection that changes to compression or to a replication stream passes on unmarked from there; and one that
    changes to TLS, unless the proxy has a certificate. It asks a ``tls://`` backend for TLS.
    """

    upgrades: ClassVar[bool] = True
    plain_hint: ClassVar[str] = "set ssl-mode=DISABLED"

    error_codes: ClassVar[tuple[str, ...]] = tuple(_ERRORS)
    fields: ClassVar[tuple[str, ...]] = ("command", "query")

    buffer: Buffer = BUFFER

    def tls_refusal(self, *, stripped: bool) -> Reply:
        return Reply(error_packet(1043, "08S01", "Bad handshake", 2), close=True)

    def tls_offer(self) -> TlsOffer:
        return MysqlTlsOffer()

    def tls_words(self, *, backend_tls: bool) -> TlsWords:
        return MysqlTlsWords(backend_tls=backend_tls)

    def prepare_tls_words(self) -> None:
        """The RSA key by which clients encrypt their password."""
        with contextlib.suppress(VaurienError):  # without the extra no password passes, which is said then
            tls.require()
            from vaurien.tls import rsa_key

            rsa_key.make()

    def framer(self) -> Framer:
        """A framer of MySQL, for one connection."""
        return MysqlFramer()

    def may_refuse(self, head: Head, code: str | None) -> bool:
        """No to commands that no server refuses (COM_QUIT…), and to a login that fails like a query."""
        return head.refusable and not (isinstance(head, MysqlRequest) and head.login and code in _FAILURES)

    def error_reply(self, head: Head, random: Random, code: str | None = None, message: str | None = None) -> Reply:
        """An ERR packet with its number and SQLSTATE.

        Without *code* it is one that leaves the connection usable; for a login one that refuses it. After a login, and
        after the errors by which a server ends a connection (1053, 1927, 2013), the connection is closed. A command
        that no server answers (COM_QUIT, COM_STMT_CLOSE, COM_STMT_SEND_LONG_DATA) gets nothing. Raises `OptionError`
        for another code than these.
        """
        if not isinstance(head, MysqlRequest):
            return super().error_reply(head, random, code, message)
        if not head.answered:
            return Reply(b"")
        code = random.choice(list(_REFUSALS if head.login else _FAILURES)) if code is None else code
        self.check_code(code)
        state, usual = _ERRORS[code]
        data = error_packet(int(code), state, usual if message is None else message, sequence=head.reply_sequence)
        return Reply(data, close=head.login or code in _LOSSES)
