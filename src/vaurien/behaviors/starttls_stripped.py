"""Take the offer of TLS out of what a server says."""

from __future__ import annotations

from typing import ClassVar

from vaurien.behaviors._starttls import StarttlsFault


class StarttlsStripped(StarttlsFault, frozen=True):
    """Take the offer of TLS out of what a server says, as an attacker in the middle does, or an old server.

    The client sees a server that has no TLS: with ``smtp`` the word XXXXXXXA instead of STARTTLS in the reply to EHLO,
    as firewalls write it, and 502 for a STARTTLS that is sent all the same; with ``mysql`` a greeting without the SSL
    flag; with ``postgres`` an SSLRequest answered by ``N``. The backend sees a client that wants none. A client that
    goes on in plain text shows its password to everything in between: only those that insist are safe. It works with a
    certificate of the proxy and without.

    smtplib's `starttls()` raises `SMTPNotSupportedError: STARTTLS extension not supported by server.`, libpq with
    ``sslmode=require`` reports `server does not support SSL, but SSL was required`, PyMySQL `SSL is required but the
    server doesn't support it`; with ``sslmode=prefer``, and MySQL's ``ssl-mode=PREFERRED``, clients go on in plain text
    and say nothing.
    """

    stripped: ClassVar[bool] = True
