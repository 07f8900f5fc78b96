"""``vaurien check`` refuses what a start would refuse, and starts nothing."""

from __future__ import annotations

import json
import socket

import pytest

from vaurien.cli import main

PROXY = """
[[proxy]]
name = "{name}"
listen = "{listen}"
backend = "127.0.0.1:6379"
"""


@pytest.fixture
def check(tmp_path, capsys):
    """Check a file of this text; its exit status and what was printed on both streams."""

    def checked(text, *arguments):
        path = tmp_path / "chaos.toml"
        path.write_text("[vaurien]\nseed = 1\n" + text)
        status = main.main(["check", str(path), *arguments])
        out, err = capsys.readouterr()
        return status, out.replace(str(path), "chaos.toml"), err.replace(str(path), "chaos.toml")

    return checked


def test_a_file_that_a_start_takes(check):
    text = PROXY.format(name="one", listen="127.0.0.1:0") + "[[proxy.fault]]\nbehavior = 'latency'\nlatency = 10\n"
    assert check(text) == (0, "chaos.toml: ok, 1 proxy, 1 fault, 0 steps\n", "")


def test_every_port_in_use_is_a_line(check):
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [one.getsockname()[1] for one in (first, second)]
        text = "".join(PROXY.format(name=f"p{port}", listen=f"127.0.0.1:{port}") for port in ports)
        status, out, err = check(text)
        assert (status, out) == (2, "")
        assert err.splitlines() == [
            f"vaurien: proxy 'p{port}': cannot listen on 127.0.0.1:{port}: Address already in use" for port in ports
        ]
        status, out, err = check(text, "--json")
        assert (status, err) == (2, "")
        assert [json.loads(out)["ok"], len(json.loads(out)["problems"])] == [False, 2]


def test_two_proxies_on_one_address_are_named_with_the_line(check):
    status, _, err = check("".join(PROXY.format(name=name, listen="127.0.0.1:7001") for name in ("one", "two")))
    assert status == 2
    assert err == (
        "vaurien: proxy 'two' listen: '127.0.0.1:7001' (from chaos.toml line 11 [[proxy]] listen) is not valid; "
        "expected an address of its own; proxy 'one' listens there\n"
    )


def test_two_names_of_one_address(check):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = PROXY.format(name="one", listen=f"127.0.0.1:{port}") + PROXY.format(name="two", listen=f"localhost:{port}")
    status, _, err = check(text)
    assert status == 2
    assert err.startswith(f"vaurien: proxy 'two': cannot listen on localhost:{port}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "trace = '/nowhere/trace.jsonl'\n",
            "option trace: '/nowhere/trace.jsonl' (from chaos.toml line 3 [vaurien] trace)",
        ),
        ("token_file = '/nowhere'\n", "option token_file: '/nowhere' (from chaos.toml line 3 [vaurien] token_file)"),
        ("[[fault]]\nbehavior = 'latncy'\n", "unknown behavior or handler 'latncy'"),
    ],
)
def test_what_a_start_would_refuse(check, text, message):
    status, _, err = check(text)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


def test_nothing_is_left_of_a_unix_socket(check, tmp_path):
    path = tmp_path / "socket"
    assert check(PROXY.format(name="one", listen=f"unix:{path}"))[0] == 0
    assert not path.exists()


def test_a_file_that_is_missing_was_not_given_as_config(capsys):
    assert main.main(["check", "/nowhere.toml"]) == 2
    assert capsys.readouterr().err == (
        "vaurien: file '/nowhere.toml' cannot be read: No such file or directory; expected an ini or TOML file\n"
    )
