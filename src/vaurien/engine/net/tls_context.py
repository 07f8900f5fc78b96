"""The contexts of TLS to backends, made once for each way in which an address asks for it, and for each file."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Sequence

from vaurien import tls
from vaurien.errors import OptionError
from vaurien.model import BackendTls
from vaurien.tls import pem_files


def client_context(backend: BackendTls) -> ssl.SSLContext:
    """The context for *backend*, by what its files have now.

    Raises `OptionError` for a file that cannot be read, or is not what it is to be.
    """
    return _context(backend, pem_files.stamp(backend.ca, backend.certificate, backend.key))


@functools.lru_cache(maxsize=256)  # one takes 2 ms, and hundreds of connections share it
def _context(backend: BackendTls, _: tuple[object, ...]) -> ssl.SSLContext:
    context = _trusting(backend)
    if not backend.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    offer(context, backend.alpn, "backend alpn")
    if backend.certificate is not None:
        _load_certificate(context, backend.certificate, backend.key)
    return context


def warnings(backend: BackendTls) -> list[str]:
    """What *backend* will not like, as far as the extra ``tls`` is installed, which reads certificates."""
    if backend.certificate is None or not tls.installed():
        return []
    from vaurien.tls import certificates  # it needs the extra

    end = certificates.expired(pem_files.of_option("backend certificate", backend.certificate, "a certificate"))
    if end is None:
        return []
    return [f"backend certificate: that in {backend.certificate} expired on {end:%Y-%m-%d}: backends refuse it"]


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    """Give *context* the certificate that a backend may ask for."""
    key_option, key_file = ("backend key", key) if key is not None else ("backend certificate", certificate)
    content = pem_files.of_option("backend certificate", certificate, "a certificate")
    key_content = pem_files.of_option(key_option, key_file, "its key")
    if b"CERTIFICATE-----" not in content:
        raise OptionError("backend certificate", certificate, "a PEM file with a certificate (it has none)")
    if b"PRIVATE KEY-----" not in key_content:
        where = "its key" if key is not None else "its key too, or key=FILE beside it"
        raise OptionError(key_option, key_file, f"a PEM file with {where} (it has none)")
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ValueError:
        raise OptionError(key_option, key_file, "a key without a passphrase") from None
    except OSError as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            wanted = f"the key of the certificate in {certificate}; it is that of another one"
            raise OptionError(key_option, key_file, wanted) from None
        wanted = "a PEM file with a certificate and its key (one of them cannot be read)"
        raise OptionError("backend certificate", certificate, wanted) from None


def _trusting(backend: BackendTls) -> ssl.SSLContext:
    if backend.ca is not None:
        pem_files.of_option("backend ca", backend.ca, "certificates")
    try:
        return ssl.create_default_context(cafile=backend.ca)
    except OSError:
        raise OptionError(
            "backend ca", backend.ca, "a PEM file with certificates (it has none that can be read)"
        ) from None


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
