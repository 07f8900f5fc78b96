"""Every number of every source is checked for its range: it is refused by name, or it is one that works."""

from __future__ import annotations

import pytest

from vaurien.config import declared, load
from vaurien.config.layers import Given
from vaurien.errors import VaurienError
from vaurien.options import Declaration, describe

NUMBERS = [
    "-1",
    "0",
    "1",
    "5e-324",
    "1e308",
    "1e309",
    "nan",
    "inf",
    "-0.0",
    "9" * 20,
    "9" * 400,
    "9" * 5000,
    "0x10",
    "1_0",
]
NUMERIC = [
    pytest.param(group.section, option, id=f"{group.section}.{option.name}")
    for group in declared.GROUPS
    for option in describe(group.struct)
    if option.kind in (int, float)
]
LIMITS = {"minimum": lambda value, limit: value >= limit, "maximum": lambda value, limit: value <= limit}


def outcome(call):
    """What *call* returns, and nothing; or nothing, and the text of its error."""
    try:
        return call(), ""
    except VaurienError as error:
        return None, str(error)


@pytest.mark.parametrize("text", NUMBERS)
@pytest.mark.parametrize(("section", "option"), NUMERIC)
def test_a_number_is_in_its_range_or_refused(section: str, option: Declaration, text: str) -> None:
    assert "maximum" in option.limits, "every number has a largest value"
    found, refused = outcome(lambda: load({(section, option.name): Given(text, "--it")}, {}))
    if refused:
        assert option.name in refused
        assert "--it" in refused
        return
    [value] = [one.value for one in found.settings if (one.section, one.name) == (section, option.name)]
    for name, within in LIMITS.items():
        assert name not in option.limits or within(value, option.limits[name])


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("backlog = 9999999999999", "expected a whole number from 1 to 2147483647"),
        ("backlog = 1e400", "expected a whole number"),
        ("timeout = 1e308", "expected seconds, zero or more, such as 1.5 or 500ms; at most 2000000"),
        ("grace = inf", "expected seconds, zero or more"),
        ("fault = ['bandwidth rate=1e308 burst=1e308']", "expected a number of 0 or more"),
        ("fault = ['latency latency=1e300']", "expected milliseconds, zero or more"),
        ("fault = ['latency latency=1 ttl=1e300']", "expected seconds, zero or more"),
        ("fault = ['latency latency=1 count=99999999999999999999']", "expected a whole number of 0 or more"),
        ("[[step]]\nat = 1e300\nremove = ['x']", "expected seconds, zero or more"),
        (
            "[schedule]\nrepeat = 99999999999999999999\n[[step]]\nat = 1\nmix = ''",
            "expected a whole number of 0 or more",
        ),
        ("[schedule]\nlength = 1e300\n[[step]]\nat = 1\nmix = ''", "expected seconds, zero or more"),
        ("[behavior.delay]\nsleep = 1e300", "expected seconds, zero or more"),
        ("[protocol.tcp]\nbuffer = 99999999999999999999", "expected a number of bytes"),
        ("[statsd]\nport = 65536", "expected a whole number from 0 to 65535"),
    ],
)
def test_a_number_of_a_file(tmp_path, file, words):
    path = tmp_path / "chaos.toml"
    path.write_text(file if file.startswith("[") else f"[vaurien]\n{file}\n")
    with pytest.raises(VaurienError) as caught:
        load({}, {}, Given(str(path), "--config"))
    assert words in str(caught.value)
    assert "chaos.toml line" in str(caught.value)
