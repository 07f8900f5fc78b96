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
        self.file = _kept_until_the_end("vaurien-ca-", self.authority.certificate)
        """Its certificate, as PEM."""

    @functools.cached_property
    def crl_file(self) -> Path:
        """Its list of revoked certificates, as PEM."""
        return _kept_until_the_end("vaurien-crl-", self.authority.revoked_list())

    def ssl_context(self) -> ssl.SSLContext:
        """A context for clients that trust it, and nothing else."""
        return ssl.create_default_context(cafile=str(self.file))

    def server_context(self, *names: str) -> ssl.SSLContext:
        """A context for a server called *names*: DNS names or addresses. Raises `VaurienError` for one that is none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue(names).load(context)
        return context


def _kept_until_the_end(prefix: str, data: bytes) -> Path:
    """A file with *data*, which is removed when this process ends."""
    descriptor, path = tempfile.mkstemp(prefix=prefix, suffix=".pem")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    atexit.register(_remove, Path(path), os.getpid())
    return Path(path)


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:  # not a child that was forked meanwhile
        with contextlib.suppress(OSError):
            path.unlink()


@functools.cache
def session_authority() -> SessionAuthority:
    """The authority of this process, made at the first call. Raises `VaurienError` without the extra ``tls``."""
    tls.require()
    return SessionAuthority()
