"""A soak in its shortest form: its load runs, its faults come, and all it started is gone. Growth is not judged."""

from __future__ import annotations

import socket
import threading

import pytest

from benchmarks.drift import LEAST, Soak
from benchmarks.soak import await_interface, main
from tests.servers import require


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_short_soak_has_the_shape_of_a_result(tmp_path, capsys, workers):
    for program in ("redis-server", "nginx", "wrk", "iperf3"):
        require(program)
    path = tmp_path / "soak.json"
    status = main(["--minutes", "0.15", "--workers", str(workers), "--json", str(path)])
    soak = Soak.parse(path.read_bytes())
    assert status == (0 if soak.flat else 1)
    assert soak.changes > 0
    assert soak.requests > 100
    assert [drift.name for drift in soak.drifts] == list(LEAST)
    assert all(drift.highest > drift.before for drift in soak.drifts if drift.name == "descriptors")
    assert capsys.readouterr().out.count("before, grew by") == len(LEAST)


def test_a_soak_that_is_too_short_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.soak.run", lambda *_: (_ for _ in ()).throw(ValueError("3 samples say nothing")))
    assert main(["--minutes", "0.001"]) == 2
    assert "soak: 3 samples say nothing" in capsys.readouterr().err


def test_the_interface_is_there_once_its_socket_listens(tmp_path):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "api"))  # the file is there, and refuses connections
        timer = threading.Timer(0.1, server.listen)
        timer.start()
        await_interface(tmp_path / "api")
        client.connect(str(tmp_path / "api"))
        timer.join()
