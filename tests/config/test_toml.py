from __future__ import annotations

import pytest

from vaurien.config import toml
from vaurien.errors import ConfigError, UnknownName


def read(text, **environment):
    return toml.read(text, "chaos.toml", environment)


def test_both_spellings_of_a_plugin_are_one_section():
    section = read('[behavior.delay]\nsleep = 2\n["behavior:delay"]\nbefore = false\n')["behavior:delay"]
    assert {key: given.value for key, given in section.values.items()} == {"sleep": 2, "before": False}


def test_a_value_knows_its_key():
    given = read('[vaurien]\nproxy = ":80"\n')["vaurien"].values["proxy"]
    assert (given.value, given.typed, given.source) == (":80", ":80", "chaos.toml line 2 [vaurien] proxy")


def test_variables_come_from_the_environment_in_lists_too():
    values = read('[a]\nx = "${HOST}:80"\ny = ["${HOST}", 1]\n', HOST="h")["a"].values
    assert (values["x"].value, values["y"].value) == ("h:80", ["h", 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nb = \n", "chaos.toml: not valid TOML: Invalid value (at line 2, column 5)"),
        ("proxy = ':80'", "chaos.toml line 1: 'proxy' stands before the first section; expected it under [vaurien]"),
        (
            "[behavior]\nsleep = 1",
            (
                "chaos.toml [behavior] sleep: 1 is not valid; "
                "expected a section for each behavior, such as [behavior.NAME]"
            ),
        ),
        (
            "[a]\nb = '${NONE}'",
            "chaos.toml line 2 [a] b: '${NONE}' needs the environment variable 'NONE', which is not set",
        ),
    ],
)
def test_what_cannot_be_used(text, message):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("# one\n[behavior.delay]\nsleep = 2\n", "chaos.toml line 3 [behavior:delay] sleep"),
        ('["behavior:delay"]\nsleep = 2\n', "chaos.toml line 2 [behavior:delay] sleep"),
        ("[ behavior . 'delay' ]\n\nsleep = 2\n", "chaos.toml line 3 [behavior:delay] sleep"),
        ("[behavior]\ndelay = { sleep = 2 }\n", "chaos.toml [behavior:delay] sleep"),
        ("behavior.delay.sleep = 2\n", "chaos.toml [behavior:delay] sleep"),
    ],
)
def test_a_value_knows_its_line_if_that_can_be_told(text, source):
    assert read(text)["behavior:delay"].values["sleep"].source == source


def test_a_table_that_does_not_exist_is_told_with_the_nearest_one_that_does():
    with pytest.raises(UnknownName) as caught:
        read("[vaurien]\n\n[[stp]]\nat = 1\n")
    assert str(caught.value) == "unknown table '[[stp]]' (from chaos.toml line 3); did you mean '[[step]]'?"
