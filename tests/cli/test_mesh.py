"""``vaurien mesh``: what it prints, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import ssl

import pytest

from tests.cli.programs import Program
from tests.tls_peers import echo, server_context, serving
from tests.waiting import until
from vaurien.cli.main import main
from vaurien.tls.authority import Authority

NODES = ["--nodes", "a=127.0.0.1:1,b=127.0.0.1:2"]


@pytest.fixture
def run(capsys):
    """Run it; what it printed, or said on standard error, by its exit status."""

    def call(*arguments, status=0):
        assert main(["mesh", *arguments]) == status
        out, err = capsys.readouterr()
        assert (err if status else out) != ""
        return err.removeprefix("vaurien: ").strip() if status else out

    return call


def test_the_addresses_of_the_peers_of_each_node(run):
    assert json.loads(run(*NODES, "--print-addresses")) == {
        "a": {"b": "127.0.0.1:21000"},
        "b": {"a": "127.0.0.1:21001"},
    }
    assert json.loads(run(*NODES, "--first-port", "7000", "--listen", "10.0.0.1", "--print-addresses")) == {
        "a": {"b": "10.0.0.1:7000"},
        "b": {"a": "10.0.0.1:7001"},
    }


def test_a_hosts_file_for_each_node(run):
    assert run(*NODES, "--edges", "hosts", "--print-hosts", "b") == "127.0.0.1 b\n127.77.2.1 a\n"


def test_a_file_has_it_all(run, tmp_path):
    file = tmp_path / "mesh.toml"
    file.write_text('[mesh]\nnodes = {x = "h:1", y = "h:2"}\nfirst_port = 500\n')
    assert json.loads(run(str(file), "--print-addresses"))["x"] == {"y": "127.0.0.1:500"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "mesh: it has no nodes; expected --nodes a=host:port,b=host:port, or a file with a [mesh]"),
        (
            [*NODES, "--first-port", "0", "--print-addresses"],
            (
                "mesh option first_port: 0 is not valid; "
                "expected a port, such as 21000, so that addresses are known before"
            ),
        ),
        ([*NODES, "--edges", "hosts", "--print-hosts", "c"], "unknown node 'c' (from --print-hosts); known are: a, b"),
        (["--nodes", "a=127.0.0.1:1"], "mesh option nodes: '1 of them' (from --nodes) is not valid; expected 2 to 100"),
        ([*NODES, "--topology", "isolate z"], "unknown node 'z' (from --topology); known are: a, b"),
        ([*NODES, "--topologi", "isolate a"], "unknown option '--topologi'; did you mean '--topology'?"),
        ([*NODES, "--backend", "h:1"], "--backend: the proxies are the edges of the mesh; expected it to be left out"),
    ],
)
def test_what_is_wrong_is_one_line(run, arguments, message):
    assert run(*arguments, status=2) == message


def test_hosts_cannot_be_told_apart_by_ports(run):
    three = ["--nodes", "a=127.0.0.1:1,b=127.0.0.1:2,c=127.0.0.1:3"]
    assert run(*three, "--print-hosts", "a", status=2).startswith("mesh option edges: 'ports' is not valid;")


def test_it_runs_and_its_schedule_is_played(tmp_path, backend):
    file = tmp_path / "mesh.toml"
    file.write_text(
        f'[mesh]\nnodes = {{a = "127.0.0.1:1", b = "{backend}"}}\nfirst_port = 0\n'
        'topology = ["isolate a how=reset"]\n[[step]]\nat = "500ms"\nheal = "all"\n'
    )
    program = Program("mesh", str(file), "--log-level", "warning")
    answers = []
    try:
        while answers[-1:] != [b"hello"]:
            answers.append(_answer(program))
    finally:
        program.signal()
    assert answers[0] == b""
    assert program.end()[0] == 0


def test_a_schedule_cuts_and_tls_between_nodes_passes_as_bytes(tmp_path):
    """A client that trusts the node's authority alone sees its certificate; then the schedule isolates the node."""
    authority = Authority.create("mesh")
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    with serving(server_context(authority.issue(["node-b"])), echo) as (host, port):
        file = tmp_path / "mesh.toml"
        file.write_text(
            f'[mesh]\nnodes = {{a = "127.0.0.1:1", b = "{host}:{port}"}}\nfirst_port = 0\n'
            '[[step]]\nat = "1500ms"\ntopology = "isolate b how=reset"\n'
        )
        program = Program("mesh", str(file), "--log-level", "warning")
        try:
            with program.connect() as raw, context.wrap_socket(raw, server_hostname="node-b") as client:
                client.settimeout(60)
                exchanged = 0
                with contextlib.suppress(OSError):
                    while not client.sendall(b"hello") and client.recv(5) == b"hello":
                        exchanged += 1
                assert exchanged > 0
            until(lambda: _answer(program) == b"")
        finally:
            program.signal()
        assert program.end()[0] == 0


def _answer(program):
    """What the edge answers a new client; nothing: it resets."""
    with contextlib.suppress(ConnectionError), program.connect() as client:
        client.sendall(b"hello")
        return client.recv(5)
    return b""
