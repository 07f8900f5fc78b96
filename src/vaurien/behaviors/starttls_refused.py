"""Refuse TLS that a server offers."""

from __future__ import annotations

from vaurien.behaviors._starttls import StarttlsFault


class StarttlsRefused(StarttlsFault, frozen=True):
    """Refuse a client's request for TLS, as a server does that offers it and cannot begin it now.

    The backend sees nothing of the request. With ``smtp`` STARTTLS is answered by ``454 4.7.0 TLS not available due to
    temporary reason``, and the session goes on in plain text; with ``postgres`` the SSLRequest by an ErrorResponse and
    the end of the connection; with ``mysql`` the client's SSL flag by an ERR packet and the end. Clients that ask for
    no TLS are not changed. It works with a certificate of the proxy and without.

    smtplib raises `SMTPResponseException: (454, …)`; libpq reports `server sent an error response during SSL exchange`;
    MySQL's clients begin TLS without waiting and report a handshake that fails (PyMySQL `[SSL: WRONG_VERSION_NUMBER]`).
    """
