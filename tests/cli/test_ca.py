from __future__ import annotations

import pytest

from vaurien import tls
from vaurien.cli import main


@pytest.fixture
def ca(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    def run(*arguments):
        status = main.main(["ca", *arguments])
        out, err = capsys.readouterr()
        return status, out.replace(str(tmp_path), "HOME"), err.replace(str(tmp_path), "HOME")

    return run


def test_it_is_made_once(ca, tmp_path):
    status, out, _ = ca()
    assert status == 0
    assert out.startswith("Made HOME/vaurien/ca.pem.\n")
    assert "curl --cacert HOME/vaurien/ca.pem" in out
    first = (tmp_path / "vaurien" / "ca.pem").read_bytes()
    assert ca()[1].startswith("There is one already: HOME/vaurien/ca.pem.\n")
    assert (tmp_path / "vaurien" / "ca.pem").read_bytes() == first
    ca("--force")
    assert (tmp_path / "vaurien" / "ca.pem").read_bytes() != first


def test_what_it_is_permitted_cannot_be_changed_later(ca):
    assert ca("--permit", "test")[0] == 0
    assert ca("--permit", "test") == (
        2,
        "",
        "vaurien: HOME/vaurien/ca.pem exists, and --permit cannot change it; expected --force beside it\n",
    )


@pytest.mark.parametrize(
    "name", ["a b", "", "a_b!", "-a", "a..b", ".test", "*.test", "10.0.0.1/8", "10.0.0.0/33", "http://a", "a:80"]
)
def test_it_is_permitted_names_and_networks_alone(ca, tmp_path, name):
    expected = "is no name of servers; expected a DNS name such as example.test, or a network such as 10.0.0.0/8\n"
    assert ca("--permit", "test", "--permit", name) == (2, "", f"vaurien: --permit: {name!r} {expected}")
    assert not (tmp_path / "vaurien").exists()


@pytest.mark.parametrize(
    "name", ["test", "xn--mnchen-3ya.test", "münchen.test", "a_b", "10.0.0.0/8", "::1", "fd00::/8"]
)
def test_it_is_permitted(ca, name):
    assert ca("--permit", name)[0] == 0


def test_a_folder_that_cannot_be_written(ca, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = ca("--folder", str(tmp_path / "file" / "ca"))
    assert (status, err) == (2, "vaurien: HOME/file/ca: cannot be written: Not a directory\n")


def test_the_extra_is_named_where_it_is_missing(ca, monkeypatch):
    monkeypatch.setattr(tls.importlib.util, "find_spec", lambda name: None)
    assert ca() == (
        2,
        "",
        "vaurien: TLS needs the package cryptography; expected pip install cryptography (the extra 'tls')\n",
    )


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help(ca, arguments):
    status, out, _ = ca(*arguments)
    assert status == 0
    assert "--permit NAME" in out
