"""How a command comes to use a forward proxy, and to trust what proxies sign: variables of its environment, and files.

The variables are those that programs and their libraries read by themselves, so the command need not know anything.
Most of those about trust replace the system's certificates, so their files hold these too. All of it is for one
command: the files are in a folder of its own, which is removed behind it, and nothing else is told.
"""

from __future__ import annotations

import contextlib
import shlex
import ssl
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vaurien.model import Address

if TYPE_CHECKING:
    from cryptography import x509

    from vaurien.tls.authority import Authority

PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Programs read them in capitals or not; curl takes ``http_proxy`` in small letters alone."""

BUNDLE = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
)
"""Files of certificates to trust instead of the system's."""

MORE = "NODE_EXTRA_CA_CERTS"
"""A file of certificates to trust besides Node's own."""

_JAVA, _NODE = "JAVA_TOOL_OPTIONS", "NODE_OPTIONS"
_STORE_PASSWORD = "changeit"  # noqa: S105 - as of every Java trust store, which has no secrets
_NODE_SCRIPT = Path(__file__).with_name("node_proxy.cjs")


@contextlib.contextmanager
def variables(
    proxy: Address | None, others: Iterable[Address], given: Mapping[str, str], authority: Authority | None
) -> Iterator[dict[str, str]]:
    """The variables that lead a command to *proxy*, if there is one, past *others*, and let it trust *authority*.

    *given* are those that it has anyway: its certificates are trusted on, and its exceptions go past the proxy on.
    """
    with tempfile.TemporaryDirectory(prefix="vaurien-run-") as folder:
        found, java = dict[str, str](), list[str]()
        if proxy is not None:
            url = f"http://{proxy}"
            found |= {name: url for each in PROXY for name in (each, each.lower())}
            past = ",".join(filter(None, [given.get("NO_PROXY") or given.get("no_proxy", ""), *map(str, others)]))
            found |= {"NO_PROXY": past, "no_proxy": past}
            found["NODE_USE_ENV_PROXY"] = "1"  # from Node 22.21 and 24 on
            found[_NODE] = _joined(given.get(_NODE, ""), f"--require={_quoted(_NODE_SCRIPT)}")
            java += _java_proxy(proxy, past)
        if authority is not None:
            found |= _trust(Path(folder), given, authority)
            java += _java_trust(Path(folder), given, authority)
        found[_JAVA] = _joined(given.get(_JAVA, ""), *java)
        yield found


def _joined(*words: str) -> str:
    return " ".join(filter(None, words))


def _quoted(path: Path) -> str:
    """*path* in NODE_OPTIONS, which has double quotes."""
    return f'"{path}"' if " " in str(path) else str(path)


def _trust(folder: Path, given: Mapping[str, str], authority: Authority) -> dict[str, str]:
    found = {}
    written: dict[bytes, str] = {}
    for name in (*BUNDLE, MORE):
        others = _read(given.get(name, ""))
        if others is None:
            others = b"" if name == MORE else _system(given)
        if others not in written:
            path = folder / f"trust-{len(written) + 1}.pem"
            path.write_bytes(others.rstrip() + b"\n" + authority.certificate)
            written[others] = str(path)
        found[name] = written[others]
    return found


def _system(given: Mapping[str, str]) -> bytes:
    """The certificates that programs trust if they are told nothing."""
    paths = ssl.get_default_verify_paths()
    for path in (given.get("SSL_CERT_FILE", ""), paths.cafile or "", paths.openssl_cafile):
        found = _read(path)
        if found is not None:
            return found
    with contextlib.suppress(ImportError):
        import certifi  # where the system has none, as on Windows

        return Path(certifi.where()).read_bytes()
    return b""


def _read(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError:
        return None


def _java_proxy(proxy: Address, past: str) -> Iterator[str]:
    for scheme in ("http", "https"):
        yield f"-D{scheme}.proxyHost={proxy.host}"
        yield f"-D{scheme}.proxyPort={proxy.port}"
    hosts = dict.fromkeys(filter(None, (one.rpartition(":")[0] or one for one in past.split(","))))
    yield f"-Dhttp.nonProxyHosts={shlex.quote('|'.join(hosts)) if hosts else ''}"  # else Java spares localhost


def _java_trust(folder: Path, given: Mapping[str, str], authority: Authority) -> Iterator[str]:
    from cryptography import x509  # for those who need it
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs12

    certificates = [*_parsed(_system(given)), *x509.load_pem_x509_certificates(authority.certificate)]
    entries = [pkcs12.PKCS12Certificate(one, f"{number}".encode()) for number, one in enumerate(certificates, 1)]
    encryption = serialization.BestAvailableEncryption(_STORE_PASSWORD.encode())
    store = folder / "trust.p12"
    store.write_bytes(pkcs12.serialize_java_truststore(entries, encryption))
    yield f"-Djavax.net.ssl.trustStore={store}"
    yield "-Djavax.net.ssl.trustStoreType=PKCS12"
    yield f"-Djavax.net.ssl.trustStorePassword={_STORE_PASSWORD}"


def _parsed(data: bytes) -> list[x509.Certificate]:
    """The certificates of a bundle, without those that cannot be read."""
    from cryptography import x509

    end = b"-----END CERTIFICATE-----"
    found = []
    with warnings.catch_warnings(action="ignore"):  # some of the system's own have odd serial numbers
        for part in data.split(end)[:-1]:
            with contextlib.suppress(ValueError):
                found.append(x509.load_pem_x509_certificate(part[part.rindex(b"-----BEGIN") :] + end + b"\n"))
    return found
