from __future__ import annotations

import pytest

from vaurien import config
from vaurien.cli import check
from vaurien.config.layers import Given
from vaurien.errors import VaurienError


@pytest.mark.parametrize(
    ("text", "protocol", "message"),
    [
        (
            "latency match.comand=GET",
            "redis",
            "unknown field 'comand' of the match of fault 'latency' (from --fault); did yo",
        ),
        (
            "latency match.client=x",
            "tcp",
            "fault 'latency' match client: 'x' (from --fault) is not valid; expected netwo",
        ),
        (
            "reset_peer scope=exchange",
            "tcp",
            "fault 'reset_peer' scope: 'exchange' (from --fault) is not valid; expected",
        ),
    ],
)
def test_a_fault_that_its_proxy_cannot_have_is_refused(text, protocol, message):
    given = {("vaurien", "fault"): Given(text, "--fault"), ("vaurien", "protocol"): Given(protocol, "--protocol")}
    made = config.load(given, {})
    with pytest.raises(VaurienError) as raised:
        check.policies(made)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("20:refuse", "behavior: 'refuse' (from --behavior) is not valid; expected a fault of its own"),
        (
            "20:http_status",
            "behavior: 'http_status' (from --behavior) is not valid; expected a proxy whose protocol is ht",
        ),
    ],
)
def test_a_mix_that_its_proxy_cannot_have_is_refused(text, message):
    with pytest.raises(VaurienError) as raised:
        check.policies(config.load({("vaurien", "behavior"): Given(text, "--behavior")}, {}))
    assert message in str(raised.value)


def test_the_mix_of_one_of_several_proxies_is_named_with_its_place(tmp_path):
    path = tmp_path / "chaos.toml"
    path.write_text("[[proxy]]\nname = 'p'\nlisten = ':0'\nmix = '20:refuse'\n")
    with pytest.raises(VaurienError, match=r"'refuse' \(from .*chaos.toml line 4 \[\[proxy\]\] mix\)"):
        check.policies(config.load({}, {}, Given(str(path), "--config")))


def test_the_mix_of_a_step_too(tmp_path):
    path = tmp_path / "chaos.toml"
    path.write_text("\n[[step]]\nmix = '20:refuse'\n")
    with pytest.raises(VaurienError, match=r"'refuse' \(from .*chaos.toml line 2 \[\[step\]\]\)"):
        check.policies(config.load({}, {}, Given(str(path), "--config")))


def test_a_fault_of_a_step_too(tmp_path):
    path = tmp_path / "chaos.toml"
    path.write_text("\n[[step]]\nadd = 'reset_peer scope=exchange'\n")
    with pytest.raises(VaurienError, match=r"chaos.toml line 2 \[\[step\]\]\) is not valid; expected no choice"):
        check.policies(config.load({}, {}, Given(str(path), "--config")))
