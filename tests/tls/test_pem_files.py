"""Which files TLS reads: no pipe, no device, nothing that fills the memory."""

from __future__ import annotations

import os

import pytest

from vaurien.engine.net.server_contexts import ServerContexts
from vaurien.engine.net.tls_context import client_context
from vaurien.errors import OptionError
from vaurien.model import BackendTls, ClientTls
from vaurien.tls import pem_files


@pytest.fixture
def pipe(tmp_path):
    """To read it would wait for ever."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return str(path)


def test_a_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert pem_files.content(str(tmp_path / "file")) == b"content"


def test_what_is_no_file_is_refused(pipe, tmp_path):
    with pytest.raises(OSError, match="it is a device or a pipe"):
        pem_files.content(pipe)
    with pytest.raises(OSError, match="it is a device or a pipe"):
        pem_files.content("/dev/zero")
    with pytest.raises(OSError, match="Is a directory"):
        pem_files.content(str(tmp_path))
    with pytest.raises(OSError, match="No such file"):
        pem_files.content(str(tmp_path / "none"))


def test_a_file_of_another_size_than_such_files_have(tmp_path):
    (tmp_path / "large").write_bytes(bytes(pem_files.LIMIT + 1))
    with pytest.raises(OSError, match="it is larger than 4 MiB"):
        pem_files.content(str(tmp_path / "large"))


@pytest.mark.parametrize("option", ["ca", "certificate"])
def test_of_a_backend(pipe, option):
    with pytest.raises(OptionError, match=f"backend {option}: '{pipe}' is not valid; .*it is a device or a pipe"):
        client_context(BackendTls(**{option: pipe}))


@pytest.mark.parametrize(("option", "given"), [("tls", {}), ("tls_passphrase_file", {"passphrase_file": "PIPE"})])
def test_of_clients(pipe, option, given):
    pytest.importorskip("cryptography")
    with pytest.raises(OptionError, match=f"{option}: '{pipe}' is not valid; .*it is a device or a pipe"):
        ServerContexts(ClientTls((pipe,), **dict.fromkeys(given, pipe)), lambda: None)
