from __future__ import annotations

import socket

import pytest

from vaurien.handlers.base import BaseHandler


@pytest.fixture
def pairs():
    client, client_sock = socket.socketpair()
    backend_sock, server = socket.socketpair()
    with client, client_sock, backend_sock, server:
        yield client, client_sock, backend_sock, server


def test_get_data_reads_the_side_that_has_data(pairs):
    client, client_sock, backend_sock, server = pairs
    client.sendall(b"from the client")
    server.sendall(b"from the server")
    handler = BaseHandler()
    assert handler._get_data(client_sock, backend_sock, True) == b"from the client"
    assert handler._get_data(client_sock, backend_sock, False) == b"from the server"


def test_get_data_takes_one_socket_too(pairs):
    client, client_sock, _, _ = pairs
    client.sendall(b"data")
    data = BaseHandler()._get_data(client_sock)
    assert data == b"data"


def test_get_data_is_equal_to_an_empty_text_at_the_end(pairs):
    client, client_sock, backend_sock, _ = pairs
    client.close()
    assert BaseHandler()._get_data(client_sock, backend_sock, True) == ""


def test_get_data_reads_up_to_the_buffer(pairs):
    client, client_sock, backend_sock, _ = pairs

    class Small(BaseHandler):
        options = {"buffer": ("Bytes read at once", int, 3)}

    client.sendall(b"1234567")
    assert Small()._get_data(client_sock) == b"123"
    assert Small({"buffer": "2"})._get_data(client_sock) == b"45"
    assert Small()._get_data(client_sock, backend_sock, True, buffer=1) == b"6"
