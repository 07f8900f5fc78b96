"""What a user gets wrong about TLS is one line that names the option, the value, where it is and what is right.

Each mistake is made on the command line, in TOML, by the HTTP interface, with vaurienctl and in the library. Nothing of
a file's content is shown, and nothing that OpenSSL or a decoder says.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import vaurien
from tests.cli.programs import Program
from tests.control.interface import Interface
from tests.running import running
from tests.waiting import PATIENCE
from vaurien.cli import main
from vaurien.cli.ctl import main as ctl
from vaurien.errors import VaurienError
from vaurien.events import Failed
from vaurien.model import Address

authorities = pytest.importorskip("vaurien.tls.authority")

PASSPHRASE = b"planted words"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, its key, and files that are none of both."""
    from cryptography.hazmat.primitives import serialization

    folder = tmp_path_factory.mktemp("files")
    authority = authorities.Authority.create()
    pair, other = authority.issue(["localhost"]), authority.issue(["localhost"])
    expired = authority.issue(["localhost"], authorities.Flaw.EXPIRED)
    key = serialization.load_pem_private_key(pair.key, None)
    form = serialization.PrivateFormat.PKCS8
    locked = key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(PASSPHRASE))
    garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    contents = {
        "cert.pem": pair.chain,
        "key.pem": pair.key,
        "both.pem": pair.chain + pair.key,
        "other.pem": other.key,
        "locked.pem": locked,
        "wrong.txt": b"planted for another",
        "expired.pem": expired.chain + expired.key,
        "garbage.pem": garbage,
        "garbled.pem": garbage + pair.key,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    return folder


@pytest.fixture(autouse=True)
def home(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without an authority."""
    monkeypatch.setenv("XDG_DATA_HOME", str(files / "none"))


class Mistake(msgspec.Struct, frozen=True):
    """*options* of a proxy, in whose values ``{}`` is the folder of the files; *says* is what is said of *option*."""

    options: dict[str, str]
    option: str
    says: tuple[str, ...]

    def filled(self, folder: Path) -> dict[str, str]:
        return {name: value.replace("{}", str(folder)) for name, value in self.options.items()}


def of_clients(option: str, says: str, **options: str) -> Mistake:
    """A wrong value of *option*, which is one of *options*."""
    return Mistake(options, option, (f"{option}: ", repr(options[option]), says))


def of_backend(query: str, *says: str) -> Mistake:
    return Mistake({"backend": f"tls://localhost:1?{query}"}, "backend", says)


MISTAKES = {
    "certificate without its key": of_clients(
        "tls", "expected a PEM file with the key too, or tls_key", tls="{}/cert.pem"
    ),
    "key without its certificate": of_clients("tls", "expected a PEM file with a certificate", tls="{}/key.pem"),
    "mismatched pair": of_clients(
        "tls_key", "the key of the certificate in {}/cert.pem", tls="{}/cert.pem", tls_key="{}/other.pem"
    ),
    "missing passphrase": of_clients(
        "tls_key", "expected a key without a passphrase, or tls_passphrase", tls="{}/cert.pem", tls_key="{}/locked.pem"
    ),
    "wrong passphrase": of_clients(
        "tls_key",
        "expected a key that the passphrase in tls_passphrase_file opens",
        tls="{}/cert.pem",
        tls_key="{}/locked.pem",
        tls_passphrase_file="{}/wrong.txt",
    ),
    "no file of a passphrase": of_clients(
        "tls_passphrase_file",
        "expected a file that can be read (No such file or directory)",
        tls="{}/cert.pem",
        tls_key="{}/locked.pem",
        tls_passphrase_file="{}/nothing.txt",
    ),
    "no file": of_clients(
        "tls", "expected a PEM file with a certificate, or auto (No such file or directory)", tls="{}/nothing.pem"
    ),
    "folder": of_clients("tls", "expected a PEM file with a certificate, or auto (Is a directory)", tls="{}/folder"),
    "no PEM": of_clients("tls", "expected a PEM file with a certificate (it has none that can", tls="{}/garbage.pem"),
    "no file of a key": of_clients(
        "tls_key", "expected a PEM file with a key (No such file", tls="{}/cert.pem", tls_key="{}/nothing.pem"
    ),
    "unknown version": of_clients(
        "tls_min_version", "expected one of 1.0, 1.1, 1.2, 1.3", tls="{}/both.pem", tls_min_version="1.4"
    ),
    "versions without a common one": of_clients(
        "tls_min_version",
        "expected at most tls_max_version (1.2)",
        tls="{}/both.pem",
        tls_min_version="1.3",
        tls_max_version="1.2",
    ),
    "unknown cipher": of_clients(
        "tls_ciphers", "expected ciphers up to TLS 1.2 as `openssl ciphers` takes", tls="{}/both.pem", tls_ciphers="X"
    ),
    "no authority": of_clients(
        "tls_authority", "expected a folder with an authority ({}/folder/ca.pem", tls="auto", tls_authority="{}/folder"
    ),
    "no authority at all": of_clients(
        "tls",
        "expected an authority of this user to sign with ({}/none/vaurien/ca.pem: cannot be read: No such",
        tls="auto",
    ),
    "no certificate of an authority": of_clients(
        "tls_client_ca",
        "expected a PEM file with certificates (it has none",
        tls="{}/both.pem",
        tls_client_ca="{}/key.pem",
    ),
    "no file of an authority": of_clients(
        "tls_client_ca", "expected a PEM file with certificates (No such", tls="{}/both.pem", tls_client_ca="{}/nothing"
    ),
    "backend: no file of an authority": of_backend(
        "ca={}/nothing", "backend ca: '{}/nothing'", "expected a PEM file with certificates (No such file"
    ),
    "backend: no certificate of an authority": of_backend(
        "ca={}/key.pem", "backend ca: '{}/key.pem'", "expected a PEM file with certificates (it has none that can"
    ),
    "backend: certificate without its key": of_backend(
        "certificate={}/cert.pem", "backend certificate: '{}/cert.pem'", "expected a PEM file with its key too, or key"
    ),
    "backend: no certificate": of_backend(
        "certificate={}/key.pem", "backend certificate: '{}/key.pem'", "expected a PEM file with a certificate (it has"
    ),
    "backend: no key": of_backend(
        "certificate={}/cert.pem&key={}/cert.pem", "backend key: '{}/cert.pem'", "a PEM file with its key (it has none)"
    ),
    "backend: no PEM": of_backend(
        "certificate={}/garbled.pem", "backend certificate: '{}/garbled.pem'", "(one of them cannot be read)"
    ),
    "backend: mismatched pair": of_backend(
        "certificate={}/cert.pem&key={}/other.pem",
        "backend key: '{}/other.pem'",
        "expected the key of the certificate in {}/cert.pem; it is that of another one",
    ),
    "backend: missing passphrase": of_backend(
        "certificate={}/cert.pem&key={}/locked.pem",
        "backend key: '{}/locked.pem'",
        "expected a key without a passphrase",
    ),
    "backend: key without its certificate": of_backend(
        "key={}/key.pem", "key={}/key.pem'", "expected certificate=FILE beside key=FILE, which is its key"
    ),
    "backend: unknown option": of_backend("veryfi=no", "'veryfi'", "did you mean 'verify'?"),
    "backend: password": Mistake(
        {"backend": "https://user:planted@localhost:1"},
        "backend",
        ("backend: '...@localhost:1'", "without a user or a password"),
    ),
    "upstream proxy: password": Mistake(
        {"backend": "forward", "upstream_proxy": "http://user:planted@localhost:1"},
        "upstream_proxy",
        ("upstream_proxy: '...@localhost:1'", "expected host:port alone", "Proxy-Authorization"),
    ),
}

each = pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)


def says(said: str, mistake: Mistake, files: Path, *more: str) -> None:
    line = said.rstrip("\n")
    assert line.count("\n") == 0, said
    line = line.replace('"', "'")
    for fact in (*mistake.says, *more):
        assert fact.replace("{}", str(files)) in line, (fact, line)
    for word in ("Traceback", "_ssl", "SSL]", "PEM lib", "planted", "AAAA"):
        assert word not in line


def flag(mistake: Mistake) -> str:
    return f"--{mistake.option.replace('_', '-')}"


@each
def test_on_the_command_line(mistake: Mistake, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"backend": "localhost:1", "proxy": "127.0.0.1:0", **mistake.filled(files)}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert main.main(words) == 2
    says(capsys.readouterr().err, mistake, files, f"(from {flag(mistake)})")


@each
def test_in_toml(mistake: Mistake, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"backend": "localhost:1", "proxy": "127.0.0.1:0", **mistake.filled(files)}
    file = tmp_path / "chaos.toml"
    file.write_text("[vaurien]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items()))
    assert main.main(["--config", str(file)]) == 2
    line = list(options).index(mistake.option) + 2
    says(capsys.readouterr().err, mistake, files, f"chaos.toml line {line} [vaurien] {mistake.option})")


@pytest.fixture(scope="module")
def served(shared_interface: Interface) -> Iterator[Interface]:
    shared_interface.hub.tls_files.allow(["/*"])
    shared_interface.proxy("there")
    yield shared_interface
    shared_interface.hub.tls_files.allow([])
    shared_interface.clear()


@each
def test_by_http(mistake: Mistake, files: Path, served: Interface) -> None:
    options: dict[str, Any] = mistake.filled(files)
    if "tls_key" in options:
        options["tls_key"] = [options["tls_key"]]
    before = served.get("/api/v1/config")
    for method, path, body in (
        ("POST", "/api/v1/proxies", {"name": "new", "backend": "localhost:1", **options}),
        ("PATCH", "/api/v1/proxies/there", options),
    ):
        answer = served.ask(method, path, body)
        assert answer.status == 400, answer
        says(answer.json["error"]["message"], mistake, files)
        assert answer.json["error"]["pointer"] == f"/{mistake.option}"
    assert served.get("/api/v1/config") == before


@each
def test_by_vaurienctl(mistake: Mistake, files: Path, served: Interface, capsys: pytest.CaptureFixture[str]) -> None:
    options = mistake.filled(files)
    words = [f"{name}={json.dumps([value]) if name == 'tls_key' else value}" for name, value in options.items()]
    assert ctl.main(["--host", f"http://127.0.0.1:{served.address.port}", "update", "there", *words]) == 1
    says(capsys.readouterr().err, mistake, files, "vaurienctl: ")


@pytest.mark.parametrize(
    "mistake",
    [one for name, one in MISTAKES.items() if name != "no authority at all"],  # that of the session signs
)
def test_in_the_library(mistake: Mistake, files: Path) -> None:
    options: dict[str, Any] = {"backend": "localhost:1", **mistake.filled(files)}
    with pytest.raises(VaurienError) as raised:
        vaurien.Proxy(**options).start()
    says(str(raised.value), mistake, files)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


# A certificate that has expired is not refused: clients, or the backend, are to say so.


def own_certificate(files: Path) -> tuple[dict[str, str], str]:
    return {"backend": "localhost:1", "tls": f"{files}/expired.pem"}, "clients refuse it"


def for_the_backend(files: Path) -> tuple[dict[str, str], str]:
    return {"backend": f"tls://localhost:1?certificate={files}/expired.pem"}, "backends refuse it"


expired = pytest.mark.parametrize("of", [own_certificate, for_the_backend])


@expired
def test_an_expired_certificate_is_told_of_at_the_start(of: Any, files: Path) -> None:
    options, refused = of(files)
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    program = Program("--proxy", "127.0.0.1:0", *words)
    program.signal()
    status, said = program.end()
    assert status == 0
    [line] = [line for line in said.splitlines() if "level=WARNING" in line]
    assert f"{files}/expired.pem expired on " in line
    assert refused in line


@expired
def test_an_expired_certificate_is_told_of_in_the_library(of: Any, files: Path) -> None:
    options, refused = of(files)
    with vaurien.Proxy(**options) as proxy:
        [failed] = [event for event in proxy.events if isinstance(event, Failed)]
        assert (failed.where, failed.connection) == ("tls", 0)
        assert f"{files}/expired.pem expired on " in failed.error
        assert refused in failed.error


def test_an_expired_certificate_for_another_backend_is_told_of(files: Path) -> None:
    options, _ = for_the_backend(files)
    with running(("127.0.0.1", 1)) as proxy:
        proxy.call(lambda: proxy.proxy.set_backend(Address.parse(options["backend"])))
        [failed] = proxy.events.wait(Failed)
        assert f"{files}/expired.pem expired on " in failed.error


UNREADABLE = {
    "certificate": of_clients("tls", "a PEM file with a certificate, or auto (Permission denied)", tls="{}/closed.pem"),
    "key": of_clients(
        "tls_key", "a PEM file with a key (Permission denied)", tls="{}/cert.pem", tls_key="{}/closed.pem"
    ),
    "passphrase": of_clients(
        "tls_passphrase_file",
        "a file that can be read (Permission denied)",
        tls="{}/both.pem",
        tls_passphrase_file="{}/closed.pem",
    ),
    "authority of clients": of_clients(
        "tls_client_ca",
        "a PEM file with certificates (Permission denied)",
        tls="{}/both.pem",
        tls_client_ca="{}/closed.pem",
    ),
    "authority's key": of_clients(
        "tls_authority",
        "{}/authority/ca-key.pem: cannot be read: Permission denied",
        tls="auto",
        tls_authority="{}/authority",
    ),
    "backend: authority": of_backend("ca={}/closed.pem", "backend ca: '{}/closed.pem'", "(Permission denied)"),
    "backend: certificate": of_backend(
        "certificate={}/closed.pem", "backend certificate: '{}/closed.pem'", "(Permission denied)"
    ),
    "backend: key": of_backend(
        "certificate={}/cert.pem&key={}/closed.pem", "backend key: '{}/closed.pem'", "(Permission denied)"
    ),
}

ANOTHER_USER = """
import contextlib, io, json, os, sys
import vaurien
from vaurien.cli import main

runs, readable = json.load(sys.stdin)
with vaurien.Proxy(**readable), contextlib.redirect_stderr(io.StringIO()):  # all modules are imported from here on
    assert main.main(["--backend", "localhost:1", "--tls", readable["tls"] + ".absent"]) == 2
if os.geteuid() == 0:
    os.seteuid(65534)
said = []
for options in runs:
    words = [word for name, value in options.items() for word in ("--" + name.replace("_", "-"), value)]
    with contextlib.redirect_stderr(io.StringIO()) as error:
        status = main.main(words)
    try:
        del options["proxy"]
        vaurien.Proxy(**options).start()
    except vaurien.VaurienError as refused:
        said.append([status, error.getvalue(), str(refused)])
    else:
        said.append([status, error.getvalue(), "it started"])
print(json.dumps(said))
"""
"""Runs programs as a user that is not root, as root may read all files. Its user may not get to Python's own files."""


def test_files_that_cannot_be_read(files: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for file in ("cert.pem", "both.pem"):
            shutil.copy(files / file, folder)
        shutil.copy(files / "both.pem", folder / "closed.pem")
        (folder / "authority").mkdir(0o755)
        authorities.Authority.create().save(folder / "authority")
        for closed in (folder / "closed.pem", folder / "authority" / "ca-key.pem"):
            closed.chmod(0)
        runs = [{"backend": "localhost:1", "proxy": "127.0.0.1:0", **one.filled(folder)} for one in UNREADABLE.values()]
        readable = {"backend": f"tls://localhost:1?ca={folder}/cert.pem", "tls": f"{folder}/both.pem"}
        done = subprocess.run(
            [sys.executable, "-c", ANOTHER_USER],
            input=json.dumps([runs, readable]),
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        for mistake, (status, line, raised) in zip(UNREADABLE.values(), json.loads(done.stdout), strict=True):
            assert status == 2
            says(line, mistake, folder, f"(from {flag(mistake)})")
            says(raised, mistake, folder)
