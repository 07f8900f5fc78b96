"""Every behavior from every side: files, flags, the environment, three HTTP interfaces, the mix, and all lanes."""

from __future__ import annotations

import json
import random
import shlex
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.behaviors.known import (
    ACTING,
    HTTP2,
    NAMES,
    NOT_FOR_TCP,
    OF_CONTENT,
    STARTTLS,
    TRANSPARENT,
    protocol_for,
)
from tests.control.interface import Interface
from tests.running import Echo, backend, pair, read, running
from vaurien import config, options, plugins
from vaurien.cli import flags, main
from vaurien.config import Configuration
from vaurien.errors import OptionError
from vaurien.model import Fault, Mix, Policy, Share

# Options with which each can be set; as text where that is how a user gives them.
GIVEN: Mapping[str, Mapping[str, Any]] = {
    **ACTING,
    "delay": {"sleep": 0.5, "before": False},
    "error": {"message": "on purpose"},
    "http_headers": {"set": ["X-New: n"], "remove": ["ETag"]},
    "http_status": {"status": 418, "headers": ["A: b"]},
    "malformed_body": {"after": "1KiB"},
    "slow_accept": {"delay": "2s"},
    "transient": {"agitate": 3},
    "truncate_body": {"after": 5},
}


def protocol_of(name: str) -> str:
    return "http" if "message" in GIVEN.get(name, {}) else protocol_for(name)


def built(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of *name* as its behavior has them."""
    made = options.build(plugins.find(name, "behavior").target, given, owner=name)
    return {option: getattr(made, option) for option in made.__struct_fields__}


def expected(name: str) -> dict[str, Any]:
    return built(name, GIVEN.get(name, {}))


def as_text(name: str) -> str:
    """The fault as ``--fault`` has it."""
    given = {key: ",".join(value) if isinstance(value, list) else value for key, value in GIVEN.get(name, {}).items()}
    return " ".join([name, "name=it", "stream=downstream", *(f"{k}={shlex.quote(str(v))}" for k, v in given.items())])


def as_toml(name: str) -> str:
    lines = ["behavior = " + json.dumps(name), 'name = "it"', 'stream = "downstream"']
    return "\n".join([*lines, *(f"{key} = {json.dumps(value)}" for key, value in GIVEN.get(name, {}).items()), ""])


FILES = {
    "ini": "[vaurien]\nprotocol = {protocol}\nfault = {text}\n",
    "[[fault]]": "[vaurien]\nprotocol = '{protocol}'\n[[fault]]\n{toml}",
    "[[proxy.fault]]": "[[proxy]]\nname = 'p'\nlisten = ':1'\nprotocol = '{protocol}'\n[[proxy.fault]]\n{toml}",
    "[[step]]": "[vaurien]\nprotocol = '{protocol}'\n[[step]]\nadd = [{quoted}]\n",
}


def configured(arguments: list[str], **variables: str) -> Configuration:
    own = flags.parse(arguments, flags.own(), others=True)
    found = config.collect(own, variables, own.get(("command", "config")))
    return found.configuration(flags.parse(arguments, [*flags.own(), *flags.of_plugins(found.catalogue, arguments)]))


def the_fault(configuration: Configuration) -> Fault:
    added = [fault for step in configuration.schedule.steps for fault in step.add]
    [fault] = [*configuration.proxies[0].policy.faults, *added]
    return fault


def check(fault: Fault, name: str) -> None:
    assert (fault.name, fault.behavior, fault.stream) == ("it", name, "downstream")
    assert built(name, fault.options) == expected(name)


@pytest.mark.parametrize("form", list(FILES))
@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_had_from_a_file(name: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / ("chaos.ini" if form == "ini" else "chaos.toml")
    text = as_text(name)
    path.write_text(
        FILES[form].format(protocol=protocol_of(name), text=text, toml=as_toml(name), quoted=json.dumps(text))
    )
    check(the_fault(configured(["--config", str(path)])), name)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_had_from_the_command_line_and_the_environment(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(the_fault(configured(["--fault", as_text(name)])), name)
    check(the_fault(configured([], VAURIEN_FAULT=as_text(name))), name)
    arguments = ["--protocol", protocol_of(name), "--fault", as_text(name), "--show-config"]
    assert main.main(arguments) == 0  # it suits its proxy, too
    assert f" {name} " in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted({*NAMES} - {"refuse"}))
def test_it_can_be_a_share_of_a_mix_with_options_of_its_own(name: str) -> None:
    arguments = ["--protocol", protocol_of(name), "--behavior", f"20:{name}"]
    for key, value in GIVEN.get(name, {}).items():
        flag = f"--behavior-{name}-{key}".replace("_", "-")
        if isinstance(value, bool):
            arguments.append(flag if value else f"--no-{flag[2:]}")
        else:
            arguments += [flag, ",".join(value) if isinstance(value, list) else str(value)]
    [share] = configured(arguments).proxies[0].policy.mix.shares
    assert (share.percent, share.behavior) == (20, name)
    assert built(name, share.options) == expected(name)


def test_a_closed_port_is_no_share_of_a_mix(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OptionError, match="a fault of its own: 'refuse' closes the port for every client"):
        with Echo() as echo, running(echo.address, "20:refuse"):
            pass


def of_hub(api: Interface) -> Fault:
    [fault] = api.hub.proxies["p"].policy.faults
    return fault


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_had_through_our_interface(name: str, fresh: Interface) -> None:
    fresh.proxy(protocol=protocol_of(name))
    asked = {"name": "it", "behavior": name, "stream": "downstream", "options": GIVEN.get(name, {})}
    answer = fresh.ask("POST", "/api/v1/proxies/p/faults", asked)
    assert answer.status == 201, answer
    check(of_hub(fresh), name)
    shown = fresh.get("/api/v1/proxies/p/faults/it")
    assert (shown["behavior"], built(name, shown["options"])) == (name, expected(name))
    schema = fresh.get(f"/api/v1/behaviors/{name}")
    assert set(expected(name)) <= set(json.dumps(schema).replace('"', " ").split())
    assert fresh.ask("DELETE", "/api/v1/proxies/p/faults/it").status == 204
    assert not fresh.hub.proxies["p"].policy.faults


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_had_as_a_toxic(name: str, fresh: Interface) -> None:
    fresh.proxy(protocol=protocol_of(name))
    made = expected(name)
    given = {key: _as_go(made[key], value) for key, value in GIVEN.get(name, {}).items()}
    answer = fresh.ask("POST", "/proxies/p/toxics", {"name": "it", "type": name, "attributes": given})
    assert answer.status == 200, answer
    check(of_hub(fresh), name)
    assert fresh.ask("DELETE", "/proxies/p/toxics/it").status == 204


def _as_go(made: Any, given: Any) -> Any:
    """Toxiproxy takes numbers alone, and whole ones without a point."""
    if isinstance(made, float):
        return int(made) if made.is_integer() else made
    return made if isinstance(made, int) else given


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_had_through_the_originals_interface(name: str, fresh: Interface) -> None:
    fresh.proxy(protocol=protocol_of(name))
    answer = fresh.ask("PUT", "/behavior", {"name": name, **GIVEN.get(name, {})})
    if name == "refuse":
        assert answer.status == 400
        assert b"closes the port for every client" in answer.body
        return
    assert answer.status == 200, answer
    assert fresh.get("/behavior")["behavior"] == name
    [share] = fresh.hub.proxies["p"].policy.mix.shares
    assert built(name, share.options) == expected(name)


LANES = ("a fault", "a fault, live", "a share", "a share, live", "beside a legacy plugin")


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("name", sorted(TRANSPARENT))
def test_it_works_in_every_lane_on_new_and_on_live_connections(name: str, lane: str) -> None:
    """With options that let everything through, every byte comes back."""
    fault = Fault(name="it", behavior=name, options=TRANSPARENT[name])
    share = Policy(Mix((Share(50, name, TRANSPARENT[name]),)))
    policy = {
        "a share": share,
        "a share, live": share,
        "beside a legacy plugin": Policy(Mix.parse("50:tests.plugins.Noop"), (fault,)),
    }.get(lane, Policy(faults=(fault,)))
    data = random.Random(lane).randbytes(40_000)
    with Echo() as echo, running(echo.address) as proxy:
        if not lane.endswith("live"):
            proxy.call(lambda: proxy.proxy.set_policy(policy))
        with proxy.connect() as client:
            _say(client, data[:10_000])
            proxy.call(lambda: proxy.proxy.set_policy(policy))
            for start in range(10_000, 40_000, 10_000):
                _say(client, data[start : start + 10_000])
            proxy.set_policy("")
            _say(client, data)


def _say(client: socket.socket, data: bytes) -> None:
    client.sendall(data)
    assert read(client, len(data)) == data


REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
OF_HTTP: Mapping[str, tuple[Mapping[str, Any], bytes]] = {
    "duplicate_request": ({}, HEAD + b"0123456789"),
    "http_headers": ({"set": "X-New: n"}, HEAD[:-2] + b"X-New: n\r\n\r\n0123456789"),
    "http_status": ({"status": 204}, b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n"),
    "malformed_body": ({"after": 4}, HEAD + b"012356789"),
    "truncate_body": ({"after": 4}, HEAD + b"0123"),
}


@pytest.mark.parametrize("lane", LANES[:4])  # a legacy plugin has no say in HTTP's exchanges
@pytest.mark.parametrize("name", sorted(OF_HTTP))
def test_what_is_for_http_works_in_every_lane_too(name: str, lane: str) -> None:
    unusual = {"header_faults", "rate_limited", "ws_refuse"}  # those have tests of their own
    assert {*OF_HTTP} == NOT_FOR_TCP - HTTP2 - OF_CONTENT - STARTTLS - unusual
    given, answer = OF_HTTP[name]
    policy = Policy(faults=(Fault(name="it", behavior=name, options=given),))
    if lane.startswith("a share"):
        policy = Policy(Mix((Share(100, name, given),)))
    with backend() as listening, running(listening.getsockname(), protocol="http") as proxy:
        if not lane.endswith("live"):
            proxy.call(lambda: proxy.proxy.set_policy(policy))
        with pair(proxy, listening) as (client, server):
            if lane.endswith("live"):
                client.sendall(REQUEST)
                server.recv(1000)
                server.sendall(HEAD + b"0123456789")
                assert read(client, len(HEAD) + 10) == HEAD + b"0123456789"
                proxy.call(lambda: proxy.proxy.set_policy(policy))
            client.sendall(REQUEST)
            if name != "http_status":
                assert b"GET /" in server.recv(1000)
                server.sendall(HEAD + b"0123456789")
            assert read(client, len(answer)).lower() == answer.lower()
