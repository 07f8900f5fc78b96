"""What a user gets wrong about a fault is one line that names the option, the value, where it is and what is right.

Each option of one behavior of each kind is given a wrong type, a value out of range and a misspelt name, on all six
surfaces: command line, TOML, HTTP interface, vaurienctl, library, marker of pytest. Where values have types of their
own, a wrong one of these is tried too. The fields that every fault has are given the same mistakes.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

import vaurien
from tests.control.interface import Interface
from vaurien import plugins
from vaurien.cli import main
from vaurien.cli.ctl import main as ctl
from vaurien.errors import VaurienError
from vaurien.options import Declaration

BEHAVIORS = ("latency", "bandwidth", "packet_loss", "slicer", "error", "http_headers", "replace", "transient")
BEHAVIORS += ("stream_cut", "ws_close", "tls_alert", "h2_reset", "grpc_status")
"""Together they have an option of each kind: durations, sizes, ratios, numbers, choices, lists, text, on or off; and
they act on bytes, messages, streams of events, WebSockets, records of TLS, HTTP/2 and gRPC."""

FIELDS = {
    "probability": [("nonsense", "a number"), ("30", "a number from 0 to 1")],
    "scope": [("request", "one of connection, exchange, chunk")],
    "stream": [("sideways", "one of upstream, downstream, both")],
    "ttl": [("soon", "seconds"), ("-1", "seconds, zero or more")],
    "enabled": [("perhaps", "true or false")],
    "expect_hits": [("many", "text such as 1..")],
    "skip": [("nonsense", "a whole number"), ("-1", "a whole number of 0 or more")],
    "every": [("nonsense", "a whole number"), ("0", "a whole number of 1 or more")],
    "count": [("nonsense", "a whole number"), ("-1", "a whole number of 0 or more")],
}
"""Fields of each fault, with wrong values and what is expected."""

Mistake = tuple[str, str, Any, tuple[str, ...]]
"""The behavior, the option as it is written, its value, and what the message has to say."""


def mistakes() -> Iterator[Mistake]:
    for behavior in BEHAVIORS:
        for option in plugins.find(behavior, "behavior").declarations:
            yield from ((behavior, *one) for one in of_option(option))


def of_option(option: Declaration) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    misspelt = f"{option.name}x"
    yield misspelt, "1", (repr(misspelt), f"did you mean {option.name!r}")
    if option.choices or option.kind in (bool, int, float):
        yield option.name, "nonsense", (option.name, "'nonsense'", "expected ")
    if "minimum" in option.limits:
        low = f"{option.limits['minimum'] - 1:.0f}"
        yield option.name, low, (option.name, low, "expected ")
    if "maximum" in option.limits:
        limit = int(option.limits["maximum"])
        high = "1e+30" if limit > 2**53 else str(limit * 2)  # JSON shows so great a number in this form
        most = str(limit)
        yield option.name, high, (option.name, high, "expected ", most)


def of_fields() -> Iterator[Mistake]:
    for name, values in FIELDS.items():
        yield "delay", f"{name}x", "1", (repr(f"{name}x"), f"did you mean {name!r}")
        for value, expected in values:
            yield "delay", name, value, (name, repr(value), f"expected {expected}")


def of_types() -> Iterator[Mistake]:
    """Values that JSON and TOML can have, and a command line cannot."""
    for behavior in BEHAVIORS:
        for option in plugins.find(behavior, "behavior").declarations:
            value: Any = True if option.kind is list else ["x", "y"]
            yield behavior, option.name, value, (option.name, repr(value), "expected ")
    yield "latency", "latency", {}, ("latency", "{}", "expected milliseconds")


def ids(found: list[Mistake]) -> list[str]:
    return [f"{behavior}-{option}={value}" for behavior, option, value, _ in found]


OPTIONS, OF_FIELDS, TYPES = list(mistakes()), list(of_fields()), list(of_types())
TEXTS = OPTIONS + OF_FIELDS
each_option = pytest.mark.parametrize("mistake", OPTIONS, ids=ids(OPTIONS))
each_text = pytest.mark.parametrize("mistake", TEXTS, ids=ids(TEXTS))
each = pytest.mark.parametrize("mistake", TEXTS + TYPES, ids=ids(TEXTS + TYPES))
each_of_options = pytest.mark.parametrize("mistake", OPTIONS + TYPES, ids=ids(OPTIONS + TYPES))


def says(said: str, mistake: Mistake, *more: str) -> None:
    behavior, _, _, facts = mistake
    line = said.rstrip("\n")
    assert line.count("\n") == 0, said
    for fact in (behavior, *facts, *more):
        assert fact in line, (fact, line)


@each_text
def test_on_the_command_line(mistake: Mistake, capsys: pytest.CaptureFixture[str]) -> None:
    behavior, option, value, _ = mistake
    assert main.main(["--protocol", "http", "--fault", f"{behavior} {option}={value}", "--show-config"]) == 2
    says(capsys.readouterr().err, mistake, "--fault")


@each
def test_in_toml(mistake: Mistake, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    behavior, option, value, _ = mistake
    file = tmp_path / "chaos.toml"
    file.write_text(
        f"[vaurien]\nprotocol = 'http'\n[[fault]]\nbehavior = '{behavior}'\n{option} = {json.dumps(value)}\n"
    )
    assert main.main(["--config", str(file), "--show-config"]) == 2
    says(capsys.readouterr().err, mistake, "chaos.toml line 5")


@pytest.fixture(scope="module")
def served(shared_interface: Interface) -> Iterator[Interface]:
    shared_interface.proxy("web", protocol="http")
    yield shared_interface
    shared_interface.clear()


@each_of_options
def test_by_http(mistake: Mistake, served: Interface) -> None:
    behavior, option, value, _ = mistake
    answer = served.ask("POST", "/api/v1/proxies/web/faults", {"behavior": behavior, "options": {option: value}})
    assert answer.status == 400
    says(answer.json["error"]["message"], mistake)
    assert answer.json["error"]["pointer"].startswith("/options")


@each_option
def test_by_vaurienctl(mistake: Mistake, served: Interface, capsys: pytest.CaptureFixture[str]) -> None:
    behavior, option, value, _ = mistake
    url = f"http://127.0.0.1:{served.address.port}"
    assert ctl.main(["--host", url, "fault", "add", "web", behavior, f"{option}={value}"]) == 1
    says(capsys.readouterr().err, mistake, "vaurienctl: ")


@pytest.fixture(scope="module")
def proxy() -> Iterator[vaurien.Proxy]:
    with vaurien.Proxy("127.0.0.1:9", protocol="http") as proxy:
        yield proxy


@each
def test_in_the_library(mistake: Mistake, proxy: vaurien.Proxy) -> None:
    behavior, option, value, _ = mistake
    with pytest.raises(VaurienError) as raised:
        proxy.fault(behavior, **{option: value})
    says(str(raised.value), mistake)
    [*_, last] = traceback.extract_tb(raised.value.__traceback__)[:2]
    assert last.name == "call", "the error ends at the line of the caller"


def as_fault(mistake: Mistake) -> str | dict[str, Any]:
    """As a marker has it: text, or a table where the value is none."""
    behavior, option, value, _ = mistake
    return f"{behavior} {option}={value}" if isinstance(value, str) else {"behavior": behavior, option: value}


def test_in_a_marker_of_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = "@pytest.mark.vaurien(backend='127.0.0.1:9', protocol='http', faults=[{!r}])"
    cases = "".join(
        f"{marker.format(as_fault(mistake))}\ndef test_{number}(vaurien_proxy): pass\n\n"
        for number, mistake in enumerate(TEXTS + TYPES)
    )
    pytester.makepyfile("import pytest\n\n" + cases)
    plugin = ("-p", "vaurien.pytest_plugin", "-p", "no:cacheprovider")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    ran = pytester.runpytest_inprocess(*plugin, "-q")
    ran.assert_outcomes(errors=len(TEXTS + TYPES))
    text = ran.stdout.str().partition("short test summary info")[0]
    for number, mistake in enumerate(TEXTS + TYPES):
        said = text.partition(f"ERROR at setup of test_{number} ")[2].partition("ERROR at setup of")[0]
        [line] = [one for one in said.splitlines() if "@pytest.mark.vaurien:" in one]
        says(line, mistake)
