"""The certificate authority of this process: what ``tls="auto"`` signs by in the library, and in pytest.

Its key exists in memory alone; its certificate is also in a file, which clients are told to trust, and which is removed
when the process ends. All proxies of the process share it, as they share their thread.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import ssl
import tempfile
from pathlib import Path

from vaurien import tls


class SessionAuthority:
    """An authority that lives as long as the process. Clients trust `file`, or use `ssl_context`."""

    def __init__(self) -> None:
        from vaurien.tls.authority import Authority  # imported only where TLS is used

        self.authority = Authority.create("Vaurien session CA")
        descriptor, path = tempfile.mkstemp(prefix="vaurien-ca-", suffix=".pem")
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.authority.certificate)
        self.file = Path(path)
        """Its certificate, as PEM."""
        atexit.register(self._remove, os.getpid())

    def _remove(self, process: int) -> None:
        if os.getpid() == process:  # not a child that was forked meanwhile
            with contextlib.suppress(OSError):
                self.file.unlink()

    def ssl_context(self) -> ssl.SSLContext:
        """A context for clients that trust it, and nothing else."""
        return ssl.create_default_context(cafile=str(self.file))

    def server_context(self, *names: str) -> ssl.SSLContext:
        """A context for a server called *names*: DNS names or addresses. Raises `VaurienError` for one that is none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue(names).load(context)
        return context


@functools.cache
def session_authority() -> SessionAuthority:
    """The authority of this process, made at the first call. Raises `VaurienError` without the extra ``tls``."""
    tls.require()
    return SessionAuthority()
