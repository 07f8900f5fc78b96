from __future__ import annotations

import contextlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vaurien.config import ini
from vaurien.errors import ConfigError


def read(text, **environment):
    return ini.read(text, "chaos.ini", environment)


def value(text, **environment):
    return read(f"[a]\nkey = {text}", **environment)["a"].values["key"]


def test_keys_with_and_without_spaces():
    section = read("[vaurien]\nfoo=bar\nbaz = 1\nqux: x:y\n")["vaurien"]
    assert {key: given.value for key, given in section.values.items()} == {"foo": "bar", "baz": "1", "qux": "x:y"}


def test_every_key_knows_its_line():
    section = read("# what breaks\n\n[behavior:delay]\n; how long\nsleep = 2\n")["behavior:delay"]
    assert section.source == "chaos.ini line 3"
    assert section.values["sleep"].source == "chaos.ini line 5 [behavior:delay] sleep"


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("plain", "plain"),
        ('"12"', "12"),
        ("'a b'", "a b"),
        ('"', '"'),
        ("", ""),
        ("1.2.3", "1.2.3"),
    ],
)
def test_what_text_looks_like(text, typed):
    found = value(text).typed
    assert (found, type(found)) == (typed, type(typed))


def test_quotes_are_not_part_of_a_value():
    assert value('"on"').value == "on"


def test_several_lines_are_a_list():
    found = value("\n  1\n\n  # not this\n  two\n")
    assert (found.value, found.typed) == ("1\ntwo", [1, "two"])


def test_a_list_may_begin_beside_its_key():
    assert value("one\n  two").typed == ["one", "two"]


def test_keys_of_an_indented_section_are_not_a_list():
    section = read("[a]\n  one = 1\n  two = 2\n")["a"]
    assert [given.typed for given in section.values.values()] == [1, 2]


def test_variables_come_from_the_environment():
    assert value("${HOST}:${PORT}", HOST="localhost", PORT="80").value == "localhost:80"


def test_a_variable_that_is_not_set():
    with pytest.raises(ConfigError) as caught:
        value("${HOST}:80")
    assert str(caught.value) == (
        "chaos.ini line 2 [a] key: '${HOST}:80' needs the environment variable 'HOST', which is not set"
    )


def test_a_section_may_come_twice():
    assert list(read("[a]\nx=1\n[b]\n[a]\ny=2\n")["a"].values) == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nwhat\n", "chaos.ini line 2: 'what' is not valid; expected a [section], a key = value, or a # comment"),
        ("[a\nb=1", "chaos.ini line 1: '[a' is not valid; expected a [section], a key = value, or a # comment"),
        ("b=1", "chaos.ini line 1: 'b=1' is not valid; expected a [section] before the first key"),
        ("[a]\nb=1\nc=2\nb=3", "chaos.ini line 4 [a] b: given twice, first in chaos.ini line 2; expected it once"),
    ],
)
def test_what_is_not_ini(text, message):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == message


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).map(str.strip))
def test_a_value_is_what_stands_there(text):
    assume("${" not in text and text[:1] not in ('"', "'"))
    assert value(text).value == text


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(ConfigError):
        assert all(section.source.startswith("chaos.ini line ") for section in read(text).values())
