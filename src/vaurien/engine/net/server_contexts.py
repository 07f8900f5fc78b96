"""The contexts of TLS towards clients: for each server name, and for each way of answering, made once.

A context holds one certificate. Which one a client gets follows from its ClientHello, which is read before OpenSSL sees
it (`tls_accept`): so a fault can choose another certificate, or other versions, for one client alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from vaurien import tls
from vaurien.engine.net import tls_context
from vaurien.errors import OptionError, VaurienError
from vaurien.model import AUTO, ClientTls
from vaurien.tls import pem_files

if TYPE_CHECKING:
    from vaurien.tls.authority import Authority, Flaw, Pair
    from vaurien.tls.certificates import Certificate

_MOST = 256
"""Contexts that are kept: a client that asks for ever new names does not fill the memory."""

_FRESH = 30 * 86400.0
"""Seconds after which a certificate that was made is made anew, long before it expires."""

_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}

LoadAuthority: TypeAlias = "Callable[[], Authority]"


class Asked(msgspec.Struct, frozen=True, eq=False):
    """What a client is to get; *here* is where it came to, if a certificate is to be signed for it.

    *key* is the same for those that can have the same context: the *name* alone where no fault wants anything else.
    """

    name: str
    settings: ClientTls
    flaw: Flaw | None
    resumes: bool
    here: str | None
    shared: bool
    key: Hashable


class ServerContexts:
    """Makes the contexts for *settings*; *authority* gives what signs certificates.

    Making it reads all files, and makes no certificate: that waits for the first client. Raises `OptionError` for one
    that cannot be used, and `VaurienError` without the extra ``tls``. Files that have changed are read again for the
    next client. If they cannot be used, as while one of a pair is written, clients get what they got before, and
    *unusable* is called with the reason, and with a name for this state of the files, the same in each process.
    """

    def __init__(self, settings: ClientTls, authority: LoadAuthority) -> None:
        tls.require()
        self.unusable: Callable[[str, str], None] = lambda _reason, _state: None
        self.settings = settings
        self._authority = authority
        self._auto = settings.certificates == (AUTO,)
        own = () if self._auto else (*settings.certificates, *settings.keys, settings.passphrase_file)
        self._files = tuple(file for file in (*own, settings.client_ca) if file is not None)
        self._own: tuple[Certificate, ...] = ()
        self._contexts: OrderedDict[Hashable, ssl.SSLContext] = OrderedDict()
        self._making: dict[Hashable, asyncio.Future[ssl.SSLContext]] = {}
        if self._auto:
            authority()
            if settings.keys:
                raise OptionError("tls_key", list(settings.keys), f"no key beside tls = {AUTO}, which makes its own")
        else:
            self._own = _read(settings)
        self._tried = self._now()
        self._check()

    @property
    def warnings(self) -> list[str]:
        """What clients will not like."""
        files = zip(self.settings.certificates, self._own, strict=False)
        return [
            f"tls: the certificate in {file} expired on {one.expired:%Y-%m-%d}: clients refuse it"
            for file, one in files
            if one.expired is not None
        ]

    def ask(
        self,
        name: str,
        here: str,
        settings: ClientTls | None = None,
        flaw: Flaw | None = None,
        *,
        resumes: bool = True,
        shared: bool = True,
    ) -> Asked:
        """What a client gets that asks for the server *name*, or that has only come to the address *here*.

        *settings* instead of its own, a certificate with a *flaw*, and no session that can be resumed are for faults,
        and so is one that is not *shared* with other clients.
        """
        if self._now() != self._tried:
            self._read_again()
        settings = settings or self.settings
        signs = self._auto or flaw is not None
        wanted = (name or here) if signs else name
        usual = settings == self.settings and flaw is None and resumes
        key = wanted if usual else (wanted, settings, flaw, resumes)
        return Asked(wanted, settings, flaw, resumes, here if signs else None, shared, key)

    def usual(self, name: str, here: Callable[[], str]) -> ssl.SSLContext | None:
        """What `kept` gives for a client of which no fault wants anything else; *here* is called if that matters."""
        if self._now() != self._tried:
            return None
        wanted = name or (here() if self._auto else "")
        context = self._contexts.get(wanted)
        if context is not None:
            self._contexts.move_to_end(wanted)
        return context

    def kept(self, asked: Asked) -> ssl.SSLContext | None:
        """The context that was made before for *asked*; ``None``: it is to be made."""
        context = self._contexts.get(asked.key) if asked.shared else None
        if context is not None:
            self._contexts.move_to_end(asked.key)
        return context

    async def make(self, asked: Asked) -> ssl.SSLContext:
        """Make the context for *asked*, in a thread: a key, a certificate and a file take milliseconds.

        Clients that ask for the same meanwhile get the same. Raises `VaurienError` for settings that cannot be.
        """
        making = self._making.get(asked.key) if asked.shared else None
        if making is None:
            making = asyncio.get_running_loop().run_in_executor(None, self._make, asked)
            if asked.shared:
                self._making[asked.key] = making
                making.add_done_callback(lambda _: self._making.pop(asked.key, None))
        context = await asyncio.shield(making)
        self._keep(asked, context)
        return context

    def find(self, name: str, here: str, *more: Any, **others: Any) -> ssl.SSLContext:
        """As `kept`, and else `make`, without waiting, of what `ask` gives for these arguments."""
        asked = self.ask(name, here, *more, **others)
        context = self.kept(asked)
        if context is None:
            context = self._make(asked)
            self._keep(asked, context)
        return context

    def _make(self, asked: Asked) -> ssl.SSLContext:
        pair = self._pair(asked.name, asked.here, asked.flaw) if asked.here is not None else self._chosen(asked.name)
        context = _context(asked.settings, pair)
        if not asked.resumes:
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
        return context

    def _keep(self, asked: Asked, context: ssl.SSLContext) -> None:
        if asked.shared:
            self._contexts[asked.key] = context
            if len(self._contexts) > _MOST:
                self._contexts.popitem(last=False)

    def _check(self) -> None:
        """Raise `OptionError` for versions, ciphers, an authority of clients, or a key that OpenSSL does not take."""
        if self._auto:
            _without_certificate(self.settings)
        else:
            self.find("", "127.0.0.1")

    def _now(self) -> tuple[object, ...]:
        """How its files are now, and the age of what it signs. The authority is valid for ten years."""
        return time.monotonic() // _FRESH, *pem_files.stamp(*self._files)

    def _read_again(self) -> None:
        self._tried = self._now()
        before = self._own, self._contexts
        try:
            if not self._auto:
                self._own = _read(self.settings)
            self._contexts = OrderedDict()
            self._check()
        except VaurienError as error:
            self._own, self._contexts = before
            self.unusable(f"{error}; clients get what was there before", f"tls files {self._tried}")

    def _pair(self, name: str, here: str, flaw: Flaw | None) -> Pair:
        names = [name] if name != here else [here, "localhost"]
        authority = self._authority()
        try:
            return authority.issue(names, flaw)
        except VaurienError:  # no server can have the name that was asked for
            return authority.issue([here, "localhost"], flaw)

    def _chosen(self, name: str) -> Pair:
        """That of the first own certificate for *name*, or of the first one."""
        return next((one for one in self._own if one.serves(name)), self._own[0]).pair


def _read(settings: ClientTls) -> tuple[Certificate, ...]:
    from vaurien.tls import certificates  # imported only where TLS is used

    files, keys = settings.certificates, settings.keys
    if AUTO in files:
        raise OptionError("tls", list(files), f"{AUTO} alone, or files alone")
    if keys and len(keys) != len(files):
        raise OptionError("tls_key", list(keys), f"as many keys as certificates ({len(files)}), or none")
    passphrase = _passphrase(settings.passphrase_file)
    pairs = zip(files, keys or [None] * len(files), strict=True)
    return tuple(certificates.read(file, key, passphrase) for file, key in pairs)


def _passphrase(path: str | None) -> bytes | None:
    try:
        return pem_files.content(path).rstrip(b"\r\n") if path is not None else None
    except OSError as error:
        raise OptionError("tls_passphrase_file", path, f"a file that can be read ({error.strerror})") from None


def _context(settings: ClientTls, pair: Pair) -> ssl.SSLContext:
    context = _without_certificate(settings)
    try:
        pair.load(context)
    except ssl.SSLError:  # a key that OpenSSL takes for too weak is for clients to judge
        context.set_ciphers(f"{settings.ciphers or 'DEFAULT'}@SECLEVEL=0")
        pair.load(context)
    return context


def _without_certificate(settings: ClientTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = (
        1  # OpenSSL makes two: the second is a 20th of the handshake; a resumed session brings another
    )
    lowest, highest = settings.min_version, settings.max_version
    if lowest > highest:
        raise OptionError("tls_min_version", lowest, f"at most tls_max_version ({highest})")
    with warnings.catch_warnings() if lowest < "1.2" else contextlib.nullcontext():  # that is of the whole process
        if lowest < "1.2":
            warnings.simplefilter("ignore", DeprecationWarning)  # old versions are asked for on purpose
        context.minimum_version, context.maximum_version = _VERSIONS[lowest], _VERSIONS[highest]
    ciphers = settings.ciphers
    if lowest < "1.2" and ciphers is None:
        ciphers = "DEFAULT@SECLEVEL=0"  # OpenSSL has no older version at its usual level
    if ciphers is not None:
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError:
            wanted = "ciphers up to TLS 1.2 as `openssl ciphers` takes them, such as ECDHE-ECDSA-AES128-GCM-SHA256"
            raise OptionError("tls_ciphers", ciphers, wanted) from None
    tls_context.offer(context, settings.alpn, "tls_alpn")
    if settings.client_ca is not None:
        _trust(context, settings.client_ca)
        optional = settings.client_certificate == "optional"
        context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    elif settings.client_certificate == "refused":
        context.verify_mode = ssl.CERT_REQUIRED  # and trust no authority
    return context


def _trust(context: ssl.SSLContext, path: str) -> None:
    """Have *context* take the certificates of clients that one of the file *path* has signed."""
    pem_files.of_option("tls_client_ca", path, "certificates")
    try:
        context.load_verify_locations(path)
    except OSError:
        wanted = "a PEM file with certificates (it has none that can be read)"
        raise OptionError("tls_client_ca", path, wanted) from None
