"""What grpcurl and other tools ask first: which services a server has (server reflection), a stream both ways."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import vaurien
from tests.running import PATIENCE

grpc = pytest.importorskip("grpc")
reflection = pytest.importorskip("grpc_reflection.v1alpha.reflection")
messages = pytest.importorskip("grpc_reflection.v1alpha.reflection_pb2")
stubs = pytest.importorskip("grpc_reflection.v1alpha.reflection_pb2_grpc")

QUESTIONS = (
    {"list_services": ""},
    {"file_containing_symbol": reflection.SERVICE_NAME},
    {"file_by_filename": "no.proto"},
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(4))
    reflection.enable_server_reflection([reflection.SERVICE_NAME, "test.Shop"], server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0).wait()


def answers(address: str) -> list[bytes]:
    """What a server says, each answer before the next question."""
    asked = (messages.ServerReflectionRequest(**question) for question in QUESTIONS)
    with grpc.insecure_channel(address) as channel:
        told = stubs.ServerReflectionStub(channel).ServerReflectionInfo(asked, timeout=PATIENCE)
        return [answer.SerializeToString() for answer in told]


@pytest.mark.parametrize("mix", ["", "100:dummy"])
def test_it_is_the_same_as_without(port: int, mix: str) -> None:
    with vaurien.Proxy(f"127.0.0.1:{port}", protocol="grpc", mix=mix) as proxy:
        assert answers(f"127.0.0.1:{proxy.port}") == answers(f"127.0.0.1:{port}")


def test_a_fault_names_it_by_its_service(port: int) -> None:
    fault = "grpc_status code=UNIMPLEMENTED after=1 match.service=prefix:grpc.reflection"
    with vaurien.Proxy(f"127.0.0.1:{port}", protocol="grpc", faults=[fault]) as proxy:
        with pytest.raises(grpc.RpcError) as raised:
            answers(f"127.0.0.1:{proxy.port}")
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        proxy.expect("grpc_status")
