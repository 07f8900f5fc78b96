from __future__ import annotations

import pytest

from vaurien.config import files
from vaurien.errors import ConfigError, UnknownName


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def values(path, section="vaurien"):
    return {key: given.value for key, given in files.read(path, {})[section].values.items()}


def test_the_suffix_says_what_a_file_is(folder):
    (folder / "a.toml").write_text("[vaurien]\nbacklog = 1\n")
    (folder / "a.conf").write_text("[vaurien]\nbacklog = 1\n")
    assert (values("a.toml"), values("a.conf")) == ({"backlog": 1}, {"backlog": "1"})


def test_a_mark_of_byte_order_is_not_text(folder):
    (folder / "a.ini").write_bytes(b"\xef\xbb\xbf[vaurien]\nname = x\n")
    assert values("a.ini") == {"name": "x"}


def test_extends_fills_in_and_overrides_nothing(folder):
    (folder / "base").mkdir()
    (folder / "a.ini").write_text("[DEFAULT]\nextends = base/b.ini\n[vaurien]\nname = a\n")
    (folder / "base/b.ini").write_text("[DEFAULT]\nextends = c.toml\n[vaurien]\nname = b\nproxy = :1\n[statsd]\nport=1")
    (folder / "base/c.toml").write_text('[vaurien]\nproxy = ":2"\nbackend = ":3"\n')
    assert values("a.ini") == {"name": "a", "proxy": ":1", "backend": ":3"}
    assert values("a.ini", "statsd") == {"port": "1"}
    sources = {key: given.source for key, given in files.read("a.ini", {})["vaurien"].values.items()}
    assert sources["proxy"] == "base/b.ini line 5 [vaurien] proxy"


def test_of_several_files_the_first_has_precedence(folder):
    (folder / "a.ini").write_text("[DEFAULT]\nextends =\n  b.ini\n  c.ini\n")
    (folder / "b.ini").write_text("[vaurien]\nname = b\n")
    (folder / "c.ini").write_text("[vaurien]\nname = c\nproxy = :1\n")
    assert values("a.ini") == {"name": "b", "proxy": ":1"}


def failure(path, source=None):
    with pytest.raises((ConfigError, UnknownName)) as caught:
        files.read(path, {}, source)
    return str(caught.value)


def test_a_file_that_is_not_there(folder):
    assert failure("a.ini", "--config") == (
        "file 'a.ini' (from --config) cannot be read: No such file or directory; expected an ini or TOML file"
    )


def test_a_file_that_is_a_folder(folder):
    assert failure(".") == "file '.' cannot be read: Is a directory; expected an ini or TOML file"


def test_a_path_that_cannot_be():
    assert failure("\0") == "file '\\x00' cannot be read: embedded null byte; expected an ini or TOML file"


def test_a_file_that_is_not_text(folder):
    (folder / "a.ini").write_bytes(b"[vaurien]\nname = \xff\n")
    assert failure("a.ini") == (
        "file 'a.ini' cannot be read: it is not UTF-8 text, invalid start byte at byte 17; expected an ini or TOML file"
    )


def test_extends_that_leads_nowhere(folder):
    (folder / "a.ini").write_text("[DEFAULT]\nextends = b.ini\n")
    assert failure("a.ini") == (
        "file 'b.ini' (from a.ini line 2 [DEFAULT] extends) cannot be read: No such file or directory; "
        "expected an ini or TOML file"
    )


def test_extends_that_leads_back(folder):
    (folder / "a.ini").write_text("[DEFAULT]\nextends = b.ini\n")
    (folder / "b.ini").write_text("[DEFAULT]\nextends = a.ini\n")
    assert failure("a.ini") == (
        "file 'a.ini' (from b.ini line 2 [DEFAULT] extends) extends itself; expected one that does not lead back to it"
    )


def test_default_holds_nothing_else(folder):
    (folder / "a.ini").write_text("[DEFAULT]\nextend = b.ini\n")
    assert failure("a.ini") == (
        "unknown key 'extend' of [DEFAULT] (from a.ini line 2 [DEFAULT] extend); did you mean 'extends'?"
    )
