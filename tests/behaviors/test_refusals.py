"""What makes no sense is refused when it is set, wherever it is set, and the message says why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.behaviors.known import NAMES
from tests.control.interface import Interface
from vaurien import options, plugins
from vaurien.cli import main
from vaurien.errors import OptionError
from vaurien.options import Declaration

HTTP = "expected a proxy whose protocol is http"
COMBINATIONS = [
    ("duplicate_request", "tcp", "expected a proxy whose protocol frames messages, not tcp"),
    *((name, "redis", HTTP) for name in ("http_headers", "http_status", "malformed_body", "truncate_body")),
    *((name, "tcp", HTTP) for name in ("http_headers", "http_status", "malformed_body", "truncate_body")),
]


@pytest.mark.parametrize(("name", "protocol", "reason"), COMBINATIONS)
@pytest.mark.parametrize("flag", ["--fault", "--behavior"])
def test_a_combination_that_makes_no_sense_ends_the_program_with_the_reason(
    name: str, protocol: str, reason: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["--protocol", protocol, flag, name, "--show-config"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"vaurien: behavior: '{name}' ")
    assert reason in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("name", "protocol", "reason"), COMBINATIONS)
def test_and_is_refused_by_every_interface(name: str, protocol: str, reason: str, fresh: Interface) -> None:
    fresh.proxy(protocol=protocol)
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/api/v1/proxies/p/faults", {"name": "it", "behavior": name}),
        ("POST", "/proxies/p/toxics", {"name": "it", "type": name}),
        ("PUT", "/behavior", {"name": name}),
    ]
    for method, path, body in asked:
        answer = fresh.ask(method, path, body)
        assert answer.status == 400, answer
        assert f"'{name}' is not valid; {reason}".encode() in answer.body
    policy = fresh.hub.proxies["p"].policy
    assert not policy.faults
    assert not any(share.behavior == name for share in policy.mix.shares)


BELOW_ZERO = {("grpc_status", "pushback")}  # a negative one tells clients of gRPC not to try again


def numeric() -> Iterator[tuple[str, Declaration]]:
    for name in NAMES:
        for declaration in plugins.find(name, "behavior").declarations:
            if declaration.kind in (int, float) and (name, declaration.name) not in BELOW_ZERO:
                yield name, declaration


NUMERIC = [pytest.param(*cell, id=f"{cell[0]}-{cell[1].name}") for cell in numeric()]


@pytest.mark.parametrize(("name", "option"), NUMERIC)
def test_a_number_out_of_range_is_named_with_its_option_and_the_range(name: str, option: Declaration) -> None:
    """None of them may be below zero."""
    with pytest.raises(OptionError) as raised:
        options.build(plugins.find(name, "behavior").target, {option.name: -1}, owner=f"behavior {name!r}")
    said = str(raised.value)
    assert said == f"behavior {name!r} option {option.name}: -1 is not valid; expected {option.expected}"
    assert any(words in said for words in (" or more", " from ", "one of "))


@pytest.mark.parametrize(("name", "option"), NUMERIC)
def test_it_is_refused_with_the_flag_or_the_interface_that_it_came_by(
    name: str, option: Declaration, fresh: Interface, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["--fault", f"{name} {option.name}=-1"]) == 2
    assert capsys.readouterr().err == (
        f"vaurien: behavior {name!r} option {option.name}: '-1' (from --fault) is not valid; "
        f"expected {option.expected}\n"
    )
    fresh.proxy(protocol="http")
    body = {"name": "it", "behavior": name, "options": {option.name: -1}}
    answer = fresh.ask("POST", "/api/v1/proxies/p/faults", body)
    assert answer.status == 400, answer
    assert f"option {option.name}: -1 is not valid".encode() in answer.body
    assert not fresh.hub.proxies["p"].policy.faults
