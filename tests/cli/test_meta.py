from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time

import pytest

from tests.control.interface import interface
from tests.running import PATIENCE, read_all
from tests.waiting import until
from vaurien import dashboard
from vaurien.cli import meta
from vaurien.errors import BindError


@pytest.fixture(scope="module")
def front():
    with meta.Front("127.0.0.1", 0) as front:
        thread = threading.Thread(target=front.serve_forever, args=[0.01])
        thread.start()
        yield front
        front.shutdown()
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def served():
    with interface() as served:
        served.proxy("p")
        yield served


@pytest.fixture
def ask(front):
    def ask(method, path, body=None, headers=None):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", front.server_port, timeout=PATIENCE)) as one:
            one.request(method, path, body, headers or {})
            response = one.getresponse()
            return response.status, response.read()

    return ask


def test_a_port_leads_to_the_server_on_it(ask, served):
    port = served.address.port
    assert ask("GET", f"/{port}/behavior") == (200, b'{"behavior":"dummy"}')
    assert ask("PUT", f"/{port}/behavior", b'{"name": "delay", "sleep": 2}') == (200, b'{"status":"ok"}')
    assert ask("GET", f"/{port}/behavior") == (200, b'{"behavior":"delay"}')
    assert ask("GET", f"/{port}/api/v1/events?since=x")[0] == 400
    assert ask("GET", f"/{port}") == (
        200,
        dashboard.read(dashboard.INDEX).replace(b"<html ", b'<html data-mode="on" ', 1),
    )
    assert ask("GET", f"/{port}/nothing")[0] == 404
    assert ask("DELETE", f"/{port}/api/v1/proxies/p/faults/x")[0] == 404
    assert ask("HEAD", f"/{port}/healthz") == (200, b"")


@pytest.mark.parametrize("path", ["/", "/behavior", "/0/x", "/65536/x", "/80x/", "/-1/", "*"])
def test_without_a_port_there_is_nothing(ask, path):
    status, text = ask("GET", path)
    assert status == 404
    assert b"expected /PORT/PATH" in text


def test_nobody_answers_there(ask):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    status, text = ask("GET", f"/{port}/behavior")
    assert status == 503
    assert text.startswith(b"no answer on 127.0.0.1:%d" % port)


def test_what_answers_is_no_http(ask):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            one, _ = listening.accept()
            with one:
                one.recv(1000)
                one.sendall(b"220 hello\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert ask("GET", f"/{listening.getsockname()[1]}/")[0] == 503
        thread.join(PATIENCE)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_a_web_page_may_not(ask, served, headers):
    assert ask("GET", f"/{served.address.port}/behavior", headers=headers)[0] == 403


@pytest.mark.parametrize(
    ("length", "status"), [("10485760", 413), ("9" * 5000, 413), ("x", 411), ("-1", 411), ("\u00b2", 411)]
)
def test_a_body_that_is_not_read(ask, served, length, status):
    assert ask("PUT", f"/{served.address.port}/behavior", headers={"Content-Length": length})[0] == status


def test_a_body_that_does_not_come_is_not_waited_for(front, served, monkeypatch):
    monkeypatch.setattr(meta._Handler, "timeout", 0.05)
    with socket.create_connection(("127.0.0.1", front.server_port), timeout=PATIENCE) as client:
        head = f"PUT /{served.address.port}/behavior HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{{"
        client.sendall(head.encode())
        assert read_all(client).split()[1] == b"408"


def test_an_address_that_cannot_be_had(front, capsys):
    words = f"cannot listen on 127.0.0.1:{front.server_port}: Address already in use"
    with pytest.raises(BindError, match=words):
        meta.Front("127.0.0.1", front.server_port)
    assert meta.main(["--host", "127.0.0.1", "--port", str(front.server_port)]) == 2
    assert capsys.readouterr().err == f"meta-vaurien: {words}\n"


def test_what_is_not_understood(capsys):
    assert meta.main(["--port", "x"]) == 2
    assert "meta-vaurien: Invalid value for '--port'" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_it_says_where_it_is_and_warns(monkeypatch, capsys, host, warned):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(meta.Front, "serve_forever", stop)
    assert meta.main(["--host", host, "--port", "0"]) == 0
    out, err = capsys.readouterr()
    assert f"http://{host}:" in out
    assert ("warning: clients of 0.0.0.0 reach all ports" in err) is warned


@pytest.mark.parametrize(
    ("begin", "answer"),
    [(b"GET /80/", b""), (b"POST /80/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", b" 408 ")],
)
def test_a_request_has_a_time_not_each_of_its_bytes(front, monkeypatch, begin, answer):
    monkeypatch.setattr(meta._Handler, "timeout", 0.2)
    with contextlib.ExitStack() as stack:
        received, began = b"", 0.0
        while time.monotonic() - began > 0.1:  # who comes late with the begin is no request
            began = time.monotonic()
            one = stack.enter_context(socket.create_connection(("127.0.0.1", front.server_port), PATIENCE))
            one.sendall(begin)
        one.settimeout(0.02)  # one more byte each time that it has nothing to say
        for _ in range(int(PATIENCE / 0.02)):
            try:
                received += (chunk := one.recv(4096))
                if not chunk:
                    break
            except TimeoutError:
                with contextlib.suppress(OSError):
                    one.send(b"x")
            except ConnectionResetError:  # for the byte that was sent after its end
                break
        else:
            pytest.fail("it waits for ever")
    assert answer in received


def test_so_many_clients_are_served_at_once_and_no_more():
    with meta.Front("127.0.0.1", 0, clients=2) as front:
        serving = threading.Thread(target=front.serve_forever, args=[0.01])
        serving.start()
        before = threading.active_count()
        address = ("127.0.0.1", front.server_port)
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(2)]
            until(lambda: threading.active_count() == before + 2)
            waiting = [stack.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(20)]
            for one in waiting:
                one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert threading.active_count() == before + 2
            idle[0].close()
            for one in waiting:
                assert read_all(one).startswith(b"HTTP/1.1 404 ")
                assert threading.active_count() <= before + 2
        front.shutdown()
        serving.join(PATIENCE)
