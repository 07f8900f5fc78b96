"""What a shell is offered of a running server."""

from __future__ import annotations

import os
import sys

import pytest
from click.shell_completion import ShellComplete

from tests import shells
from vaurien.cli import completion
from vaurien.cli.ctl import main as ctl


@pytest.fixture
def offered(shared_interface, monkeypatch):
    """What may stand behind the words of a command line, at *typed*."""
    redis = {"name": "redis", "behavior": "latency", "options": {"latency": 5}}
    shared_interface.proxy("redis", faults=[redis, {"name": "slow", "behavior": "bandwidth"}])
    shared_interface.proxy("rest")
    monkeypatch.setenv("VAURIEN_URL", f"http://127.0.0.1:{shared_interface.address.port}")

    def ask(words, typed=""):
        completion = ShellComplete(ctl.command, {}, "vaurienctl", "_VAURIENCTL_COMPLETE")
        return [item.value for item in completion.get_completions(words.split(), typed)]

    yield ask
    shared_interface.clear()


@pytest.mark.parametrize(
    ("words", "typed", "names"),
    [
        ("inspect", "re", ["redis", "rest"]),
        ("toggle", "red", ["redis"]),
        ("fault remove redis", "", ["redis", "slow"]),
        ("why redis", "s", ["slow"]),
        ("fault update redis redis", "la", ["latency="]),
        ("fault add redis", "band", ["bandwidth"]),
        ("fault add redis latency", "ji", ["jitter="]),
        ("create p --protocol", "re", ["redis"]),
        ("set-behavior", "del", ["delay"]),
        ("events --proxy", "res", ["rest"]),
        ("mix", "rest", ["rest"]),
        ("fault list", "", ["redis", "rest"]),
        ("fault remove nosuch", "", []),
    ],
)
def test_names_of_the_server(offered, words, typed, names):
    assert offered(words, typed) == names


def test_the_host_on_the_command_line_is_asked(offered, monkeypatch):
    url = os.environ["VAURIEN_URL"]
    monkeypatch.setenv("VAURIEN_URL", "http://127.0.0.1:9")
    assert offered(f"--host {url} inspect", "red") == ["redis"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense://", ""])
def test_where_nothing_answers_there_is_nothing_to_offer(offered, monkeypatch, url):
    monkeypatch.setenv("VAURIEN_URL", url)
    assert offered("inspect") == []


def test_an_option_takes_its_value_without_a_space(offered, tmp_path, capsys):
    program = tmp_path / "vaurienctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m vaurien.cli.ctl.main "$@"\n')
    program.chmod(0o755)
    variables = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shells.require("zsh")
    completion.main(["zsh"], variables)
    with shells.zsh(capsys.readouterr().out, variables, tmp_path) as zsh:
        assert zsh.complete("vaurienctl fault add redis latency ji")[0] == "vaurienctl fault add redis latency jitter="
        assert zsh.complete("vaurienctl inspect re")[1] == ["redis", "rest"]
