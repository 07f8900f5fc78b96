"""A proxy started by a test's own setup, and steered: the example of Mozilla's Vaurien, as its documentation has it."""

from __future__ import annotations

import functools
import shutil
import socket
import subprocess
import sys
import unittest

import pytest

import vaurien
from vaurien import Client, start_proxy, stop_proxy
from vaurien.errors import BindError, VaurienError

EXAMPLE = """
import unittest
from vaurien import Client, start_proxy, stop_proxy

class MyTest(unittest.TestCase):

    def setUp(self):
        self.proxy_pid = start_proxy(port=8080)

    def tearDown(self):
        stop_proxy(self.proxy_pid)

    def test_one(self):
        client = Client()
        options = {'inject': True}

        with client.with_behavior('error', **options):
            # do something...
            pass

        # we're back to normal here
"""


OWN_NETWORK = """
import fcntl, socket, struct, unittest
with socket.socket() as any_socket:  # netdevice(7): a new network's loopback is down
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
unittest.main("test_original")
"""


@pytest.fixture
def where():
    """A free port for the proxy, and one for the interface; the loopback by its number is one address."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        proxy, interface = one.getsockname()[1], other.getsockname()[1]
    return {"proxy_host": "127.0.0.1", "proxy_port": proxy, "http_host": "127.0.0.1", "http_port": interface}


def test_the_example_of_the_original(monkeypatch, where):
    """Its ports are those of everybody; here other ones are free."""
    monkeypatch.setattr(
        vaurien,
        "start_proxy",
        lambda port: start_proxy(**{**where, "http_port": port, "log_level": "error"}),
        raising=False,
    )
    client = functools.partial(Client, "127.0.0.1", where["http_port"])
    monkeypatch.setattr(vaurien, "Client", client, raising=False)
    page = {}
    exec(EXAMPLE.replace("8080", str(where["http_port"])), page)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(page["MyTest"]).run(result)
    assert result.testsRun == 1
    assert result.wasSuccessful(), result.errors + result.failures


def test_the_example_of_the_original_as_it_stands(tmp_path):
    """In a network of its own, where the ports of everybody are free."""
    unshare = shutil.which("unshare")
    own = [unshare, "--net", "--map-root-user"]
    if unshare is None or subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("no network of its own here")
    (tmp_path / "test_original.py").write_text(EXAMPLE, encoding="utf-8")
    done = subprocess.run([*own, sys.executable, "-c", OWN_NETWORK], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Ran 1 test" in done.stderr


def test_options_set_live_win_over_the_command_line(where):
    pid = start_proxy(**where, options=["--behavior", "delay", "--behavior-delay-sleep", "9"], log_level="error")
    try:
        client = Client("127.0.0.1", where["http_port"])
        assert client.get_mix("vaurien")["mix"][0]["options"] == {"sleep": 9.0}
        client.set_behavior("delay", sleep=2)
        assert client.get_mix("vaurien")["mix"][0]["options"] == {"sleep": 2}
        with client.with_behavior("dummy"):
            assert client.get_behavior() == "dummy"
        assert client.get_mix("vaurien")["mix"][0]["options"] == {"sleep": 2}
    finally:
        stop_proxy(pid)
    with pytest.raises(VaurienError, match="does not answer"):
        client.get_behavior()


def test_the_interface_has_somebody_else(where):
    with socket.create_server(("127.0.0.1", where["http_port"])), pytest.raises(BindError, match="something else"):
        start_proxy(**where)


def test_the_proxy_has_somebody_else(where):
    with socket.create_server(("127.0.0.1", where["proxy_port"])):
        with pytest.raises(VaurienError, match=r"exit code 2 .* said: vaurien: option proxy .* Address already in use"):
            start_proxy(**where)
