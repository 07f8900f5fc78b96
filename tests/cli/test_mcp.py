"""``vaurien mcp``, spoken to by the official client over standard input and output."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from tests.control.interface import interface
from tests.servers import free_port
from vaurien.cli import mcp
from vaurien.cli.ctl import finding

pytest.importorskip("mcp")


def test_its_tools_steer_a_running_proxy():
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def play(port):
        parameters = StdioServerParameters(
            command=sys.executable, args=["-m", "vaurien", "mcp", "--host", f"127.0.0.1:{port}"]
        )
        async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert set(tools) == {"list_proxies", "list_behaviors", "add_fault", "remove_fault", "hits", "reset"}
            assert set(tools["add_fault"].inputSchema["required"]) == {"proxy", "behavior", "ttl"}

            async def call(tool, /, **arguments):
                result = await session.call_tool(tool, arguments)
                texts = [json.loads(part.text) if part.text[:1] in "{[" else part.text for part in result.content]
                return result.isError, texts

            assert (await call("list_proxies"))[1][0]["name"] == "api"
            failed, [added] = await call(
                "add_fault", proxy="api", behavior="latency", ttl=600, options={"latency": 5}, probability=0.5
            )
            assert not failed
            assert (added["name"], added["ttl"], added["probability"]) == ("latency", 600, 0.5)
            _, [hit] = await call("hits", proxy="api")
            assert (hit["fault"], hit["hits"]) == ("latency", 0)
            assert "connection" in hit["why_not"]
            failed, [text] = await call("add_fault", proxy="api", behavior="latenci", ttl=5)
            assert failed
            assert "did you mean 'latency'?" in text
            await call("remove_fault", proxy="api", name="latency")
            await call("reset")

    with interface() as served:
        served.proxy("api")
        asyncio.run(asyncio.wait_for(play(served.address.port), 60))
        assert served.get("/api/v1/proxies/api/faults") == {"faults": []}


def test_it_asks_the_interface_that_answers(monkeypatch):
    """That of ``vaurien serve`` too, also one that starts later, or after the other one has ended."""

    def names(server):
        content = asyncio.run(server.call_tool("list_proxies", {}))
        return [json.loads(part.text)["name"] for part in content[0]]

    nothing = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr(finding, "URLS", (nothing, nothing))
    server = mcp.server(mcp.finder(None, None))
    with pytest.raises(Exception, match=f"neither {nothing} .* answers .*--host names another address$"):
        names(server)
    with interface() as served:
        served.proxy("serve")
        second = f"http://127.0.0.1:{served.address.port}"
        monkeypatch.setattr(finding, "URLS", (nothing, second))
        assert names(server) == ["serve"]
        with interface() as other:
            other.proxy("http")
            monkeypatch.setattr(finding, "URLS", (f"http://127.0.0.1:{other.address.port}", second))
            assert names(server) == ["http"]
        assert names(server) == ["serve"]


HELLO = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
CALL = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_proxies", "arguments": {}}}


CALLED = json.dumps(CALL).encode() + b"\n"


@pytest.mark.parametrize(
    ("last", "read"),
    [(b'{"jsonrpc":', "the rest"), (b"\xff\n", ""), (CALLED, "the rest"), (CALLED, "the answer")],
    ids=["in a message", "output closed", "in a call", "after a call"],
)
def test_a_client_that_leaves_ends_it_in_silence(last, read):
    command = [sys.executable, "-m", "vaurien", "mcp", "--host", "127.0.0.1:1"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes) as process:
        for message in (
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
        ):
            process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        assert b'"result"' in process.stdout.readline()
        if not read:
            process.stdout.close()
        process.stdin.write(last)
        process.stdin.flush()
        if read == "the answer":
            assert b"does not answer" in process.stdout.readline()
        process.stdin.close()
        if read:
            process.stdout.read()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
