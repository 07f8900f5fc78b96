from __future__ import annotations

import asyncio
import contextlib
import os
import threading

import pytest

import vaurien
from tests.running import PATIENCE, until
from vaurien.errors import UnknownName, VaurienError
from vaurien.events import Failed


@contextlib.asynccontextmanager
async def talking(proxy):
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)

    async def says(text=b"hello"):
        writer.write(text)
        return await asyncio.wait_for(reader.read(len(text)), PATIENCE)

    try:
        yield says
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def test_a_client_reaches_the_backend_and_meets_a_fault(backend):
    async def main():
        async with vaurien.AsyncProxy(backend) as proxy, talking(proxy) as says:
            assert await says() == b"hello"
            with proxy.fault("latency", latency=1):
                assert await says() == b"hello"
            await proxy.wait_for_hits("latency", 2)
            [connection] = await proxy.wait_for_connections(1)
            assert connection.sent == 10
            assert proxy.close_connections() == 1
            await proxy.wait_for_connections(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_down_and_up(backend):
    async def main():
        async with vaurien.AsyncProxy(backend) as proxy:
            with proxy.down():
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection(proxy.host, proxy.port)
            outage = proxy.down()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(proxy.host, proxy.port)
            outage.remove()
            async with talking(proxy) as says:
                assert await says() == b"hello"
            outage = proxy.down()
        outage.remove()

    asyncio.run(main())


def test_another_thread_may_steer(backend):
    async def main():
        async with vaurien.AsyncProxy(backend) as proxy, talking(proxy) as says:
            assert await says() == b"hello"
            fault = await asyncio.to_thread(proxy.fault, "latency")
            assert await asyncio.to_thread(lambda: len(proxy.connections)) == 1
            await asyncio.to_thread(fault.remove)
            with pytest.raises(UnknownName, match="did you mean 'latency'"):
                await asyncio.to_thread(proxy.fault, "latncy")

    asyncio.run(main())


def test_a_backend_that_is_not_there(nobody):
    async def main():
        async with vaurien.AsyncProxy(nobody) as proxy:
            with pytest.raises(ConnectionResetError):
                async with talking(proxy) as says:
                    await says()
                    await says()
            await proxy.wait_for_connections(0)
            assert [event.where for event in proxy.events if isinstance(event, Failed)] == ["dial"]

    asyncio.run(main())


def test_waiting_in_vain(backend):
    async def main():
        async with vaurien.AsyncProxy(backend) as proxy:
            with pytest.raises(TimeoutError, match=r"0 connections are open, not at least 1, after 0.01 s"):
                await proxy.wait_for_connections(1, timeout=0.01)

    asyncio.run(main())


def test_it_needs_a_loop(backend):
    starting = vaurien.AsyncProxy(backend).start()
    with pytest.raises(VaurienError, match="needs a running asyncio loop; expected Proxy where there is none"):
        starting.send(None)


def test_it_lives_in_one_loop(backend):
    proxy = vaurien.AsyncProxy(backend)

    async def elsewhere():
        with pytest.raises(VaurienError, match="lives in another event loop; expected the one that started it"):
            await proxy.wait_for_connections(0)

    async def main():
        async with proxy:
            await asyncio.to_thread(asyncio.run, elsewhere())

    asyncio.run(main())
    with pytest.raises(VaurienError, match="is closed"):
        proxy.close_connections()
    asyncio.run(proxy.close())


def test_a_loop_that_is_gone_is_told(backend, monkeypatch):
    gone = asyncio.new_event_loop()
    gone.close()

    async def main():
        async with vaurien.AsyncProxy(backend) as proxy:
            with monkeypatch.context() as patched:
                patched.setattr(proxy._proxy_host, "_loop", gone)
                with pytest.raises(
                    VaurienError, match=r"event loop is closed; expected its own close\(\) before that$"
                ):
                    proxy.close_connections()

    asyncio.run(main())


def test_a_loop_that_does_not_answer_is_told(backend, monkeypatch):
    monkeypatch.setattr("vaurien.library.proxy_host.CALL_TIMEOUT", 0.01)

    async def main():
        async with vaurien.AsyncProxy(backend) as proxy:
            errors = []

            def steer():
                try:
                    proxy.close_connections()
                except VaurienError as error:
                    errors.append(str(error))

            thread = threading.Thread(target=steer)
            thread.start()
            thread.join()  # the loop does nothing else meanwhile
            assert errors == [
                "proxy 'vaurien': its loop has not answered for 0.01 s; it is busy, or stopped",
            ]

    asyncio.run(main())


def test_many_leave_no_task_and_no_descriptor(backend):
    async def main():
        async with vaurien.AsyncProxy(backend):  # what is opened once for a loop is no leak
            pass
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            async with vaurien.AsyncProxy(backend) as proxy, talking(proxy) as says:
                assert await says() == b"hello"
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.to_thread(until, lambda: len(os.listdir("/proc/self/fd")) <= before)  # the server's are later

    asyncio.run(main())


def test_closing_one_that_was_never_started(backend):
    asyncio.run(vaurien.AsyncProxy(backend).close())
