"""The contexts of TLS to backends, made once for each way in which an address asks for it, and for each file."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Sequence

from vaurien.errors import OptionError
from vaurien.model import BackendTls
from vaurien.tls import pem_files


def client_context(tls: BackendTls) -> ssl.SSLContext:
    """The context for *tls*, by what its files have now.

    Raises `OptionError` for a file that cannot be read, or is not what it is to be.
    """
    return _context(tls, pem_files.stamp(tls.ca, tls.certificate, tls.key))


@functools.lru_cache(maxsize=256)  # one takes 2 ms, and hundreds of connections share it
def _context(tls: BackendTls, _: tuple[object, ...]) -> ssl.SSLContext:
    context = _trusting(tls)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    offer(context, tls.alpn, "backend alpn")
    if tls.certificate is not None:
        try:
            for path in filter(None, (tls.certificate, tls.key)):
                pem_files.content(path)
            context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
        except (OSError, ValueError) as error:
            wanted = f"a PEM file with a certificate and its key, without a passphrase ({reason(error)})"
            raise OptionError("backend certificate", tls.certificate, wanted) from None
    return context


def _trusting(tls: BackendTls) -> ssl.SSLContext:
    try:
        if tls.ca is not None:
            pem_files.content(tls.ca)
        return ssl.create_default_context(cafile=tls.ca)
    except OSError as error:
        raise OptionError("backend ca", tls.ca, f"a PEM file with certificates ({reason(error)})") from None


def _no_passphrase() -> str:
    raise ValueError("it needs a passphrase")


def offer(context: ssl.SSLContext, protocols: Sequence[str], option: str) -> None:
    """Have *context* speak one of the application *protocols*. Raises `OptionError`, which names *option*."""
    if protocols:
        try:
            context.set_alpn_protocols(list(protocols))
        except (ssl.SSLError, UnicodeEncodeError):
            wanted = "names of 1 to 255 ASCII characters, such as h2,http/1.1"
            raise OptionError(option, ",".join(protocols), wanted) from None


def reason(error: Exception) -> str:
    """Why a file with certificates or keys cannot be used."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "nothing that can be read").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
