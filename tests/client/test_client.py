from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import http.server
import pickle
import socket
import subprocess
import sys
import threading

import pytest

import vaurien
from tests.control.interface import interface
from tests.running import PATIENCE
from vaurien.client import AsyncClient, Call, Client, Refused, Unreachable, at
from vaurien.client.calls import Calls
from vaurien.control import original, v1
from vaurien.errors import UnknownName

CALLS = {id(call): call for call in vars(Calls).values() if isinstance(call, Call)}.values()


@pytest.fixture
def served(shared_interface):
    shared_interface.proxy("first", mix=[{"percent": 30, "behavior": "delay", "options": {"sleep": 5}}])
    yield shared_interface
    shared_interface.clear()


@pytest.fixture
def client(served):
    return Client("127.0.0.1", served.address.port)


def shapes(pairs):
    """Methods and paths, whatever the names in them."""
    return {
        (method, "/".join("*" if step.startswith("{") else step for step in path.split("/"))) for method, path in pairs
    }


def test_there_is_a_call_for_every_route_and_a_route_for_every_call():
    """But for the events, and for those with figures, which are streams."""
    streams = {"/api/v1/events", "/api/v1/live", "/api/v1/fleet/events", "/api/v1/proxies/{proxy}/exchanges"}
    routes = shapes((route.method, route.path) for route in v1.ROUTES if route.path not in streams)
    calls = shapes((call.method, call.path) for call in CALLS)
    originals = {
        ("GET", "/behavior"),
        ("PUT", "/behavior"),
        ("GET", "/behaviors"),
        ("GET", "/backend"),
        ("PUT", "/backend"),
    }
    assert calls == routes | originals


def test_a_call_is_described_in_the_words_of_its_route():
    words = {(route.method, route.path): " ".join(route.description.split()) for route in v1.ROUTES}
    described = {
        call.name: (call.about, words[call.method, call.path]) for call in CALLS if call.path.startswith("/api")
    }
    assert {name for name, (about, route) in described.items() if about[:20] != route[:20]} == set()


def test_a_call_can_be_looked_up(client):
    assert repr(Client.add_fault) == "add_fault(proxy, **fields)"
    assert client.add_fault.__name__ == "add_fault"
    assert client.add_fault.__doc__ == (
        "Put a behavior in use on a proxy, behind its other faults.\n\nThis is ``POST /api/v1/proxies/{proxy}/faults``."
    )


def test_the_public_names_are_those_of_the_package():
    assert vaurien.Client is Client
    assert vaurien.AsyncClient is AsyncClient
    assert callable(vaurien.start_proxy)
    assert callable(vaurien.stop_proxy)


def test_a_proxy_and_its_fault(client):
    assert client.create_proxy(name="a b", backend="localhost:1")["backend"] == "localhost:1"
    assert [proxy["name"] for proxy in client.list_proxies()] == ["first", "a b"]
    client.add_fault("a b", behavior="delay", options={"sleep": 2})
    assert client.change_fault("a b", "delay", probability=0.5)["options"] == {"sleep": 2}
    client.remove_fault("a b", "delay")
    assert client.list_faults("a b") == []
    assert client.delete_proxy("a b") is None
    config = client.get_config()
    assert client.set_config(**config) == config
    client.reset()
    assert client.get_mix("first")["text"] == ""


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_mistyped_keyword_is_named(kind):
    with pytest.raises(UnknownName, match=f"^unknown argument 'tokn' of {kind.__name__}; did you mean 'token'"):
        kind("localhost", tokn="x")


def test_names_go_by_position():
    with pytest.raises(TypeError, match=r"get_fault\(\) takes by position proxy, fault, not \('p',\)"):
        Client().get_fault("p")
    with pytest.raises(TypeError, match=r"takes by position nothing"):
        Client().list_proxies("p")
    assert repr(Client.get_fault) == "get_fault(proxy, fault)"


def test_a_refusal_says_what_the_interface_said(client):
    with pytest.raises(Refused, match="did you mean 'delay'") as caught:
        client.add_fault("first", behavior="dealy")
    assert (caught.value.status, caught.value.pointer) == (400, "/behavior")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.status, copy.pointer, str(copy)) == (400, "/behavior", str(caught.value))


def test_the_calls_of_the_original(client):
    client.set_behavior("error", warmup=3)
    assert client.get_behavior() == "error"
    assert client.list_behaviors() == list(original.NAMES)
    assert client.get_mix("first")["mix"][0]["options"] == {"warmup": 3}
    client.set_backend("localhost:7")
    assert client.get_backend() == "localhost:7"


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.set_behavior("x"),
        lambda client: client.set_behavior("delay", slep=1),
        lambda client: client.set_behavior("delay", sleep="x"),
        lambda client: client.set_backend("x"),
    ],
)
def test_what_is_unknown_is_a_value_error(client, call):
    before = client.get_config()
    with pytest.raises(ValueError, match=r"does not exist|did you mean|expected"):
        call(client)
    assert client.get_config() == before


def test_with_behavior_puts_back_the_mix_and_its_options(client):
    before = client.get_mix("first")
    with client.with_behavior("hang"):
        assert client.get_behavior() == "hang"
    assert client.get_mix("first") == before
    with pytest.raises(KeyError), client.with_behavior("delay", sleep=1):
        raise KeyError
    assert client.get_mix("first") == before
    with pytest.raises(ValueError, match="does not exist"), client.with_behavior("x"):
        pass
    assert client.get_mix("first") == before


def test_the_old_spellings(client):
    client.set_handler("hang")
    assert client.get_handler() == "hang"
    assert client.list_handlers() == list(original.NAMES)
    with client.with_handler("delay"):
        assert client.get_handler() == "delay"
    assert client.get_handler() == "hang"


def test_all_of_it_with_asyncio(served):
    async def scenario():
        client = AsyncClient("127.0.0.1", served.address.port)
        before = await client.get_mix("first")
        async with client.with_behavior("error", warmup=1):
            assert await client.get_behavior() == "error"
        with pytest.raises(KeyError):
            async with client.with_handler("delay", sleep=1):
                raise KeyError
        assert await client.get_mix("first") == before
        await client.set_backend("localhost:7")
        assert await client.get_backend() == "localhost:7"
        with pytest.raises(ValueError, match="does not exist"):
            await client.set_behavior("x")
        answers = await asyncio.gather(*(client.get_version() for _ in range(5)))
        assert answers == [vaurien.__version__] * 5

    asyncio.run(scenario())


def test_events_are_followed():
    with interface() as served:
        served.proxy("other")
        served.proxy("first")
        client = Client("127.0.0.1", served.address.port)
        events = client.events(proxy="first")
        first = next(events)
        assert (first["type"], first["proxy"], first["id"]) == ("Listening", "first", 2)
        client.set_mix("first", mix="100:hang")
        changed = next(events)
        assert (changed["type"], changed["mix"], changed["id"]) == ("PolicyChanged", "100:hang", 3)
        events.close()
        again = client.events(since=2)
        assert next(again) == changed
        again.close()


def test_events_are_followed_with_asyncio():
    async def scenario(served):
        client = AsyncClient("127.0.0.1", served.address.port)
        async with contextlib.aclosing(client.events(proxy="first")) as events:
            first = await anext(events)
            assert (first["type"], first["proxy"], first["id"]) == ("Listening", "first", 2)
            await client.set_mix("first", mix="100:hang")
            changed = await anext(events)
        assert (changed["type"], changed["mix"], changed["id"]) == ("PolicyChanged", "100:hang", 3)
        async for again in client.events(since=2):
            assert again == changed
            break
        with pytest.raises(Refused, match="unknown proxy 'nobody'") as caught:
            await anext(client.events(proxy="nobody"))
        assert caught.value.status == 404

    with interface() as served:
        served.proxy("other")
        served.proxy("first")
        asyncio.run(scenario(served))


def test_readers_of_events_take_no_threads_from_calls():
    """asyncio has some threads for all that would block, and a stream has no end."""

    async def scenario(served):
        client = AsyncClient("127.0.0.1", served.address.port)
        async with contextlib.AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(contextlib.aclosing(client.events())) for _ in range(50)]
            waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
            await client.create_proxy(name="p", backend="localhost:9")
            assert {event["type"] for event in await asyncio.gather(*waiting)} == {"Listening"}

    with interface() as served:
        asyncio.run(scenario(served))


def test_a_reader_of_events_can_be_cancelled():
    async def scenario(served):
        client = AsyncClient("127.0.0.1", served.address.port)
        stream = client.events()
        waiting = asyncio.ensure_future(anext(stream))
        while not served.recent._news:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await client.get_health() == "ok"

    with interface() as served:
        asyncio.run(scenario(served))


def test_events_may_be_rarer_than_answers_may_be_late():
    with interface() as served, concurrent.futures.ThreadPoolExecutor(1) as pool:
        for within in (0.05, 0.5, 5.0):  # where others are busy the answer itself may be late
            event = pool.submit(next, Client("127.0.0.1", served.address.port, timeout=within).events())
            if concurrent.futures.wait([event], timeout=2 * within).not_done:
                break
        served.proxy("p")
        assert event.result(PATIENCE)["type"] == "Listening"


def test_nobody_has_events():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=r"does not answer .* is vaurien running there"):
        next(Client("127.0.0.1", port).events())
    with pytest.raises(Unreachable, match=r"does not answer .* is vaurien running there"):
        asyncio.run(anext(AsyncClient("127.0.0.1", port).events()))


def test_an_interface_that_ends_ends_its_events():
    with interface() as served:
        served.proxy("p")
        events = Client("127.0.0.1", served.address.port).events()
        assert next(events)["type"] == "Listening"
    assert [event["type"] for event in events] == []


def test_with_behavior_needs_a_proxy():
    async def asynchronous(client):
        async with client.with_behavior("hang"):
            pass

    with interface() as served:
        with (
            pytest.raises(Refused, match="there is no proxy"),
            at(f"127.0.0.1:{served.address.port}").with_behavior("x"),
        ):
            pass
        with pytest.raises(Refused, match="there is no proxy"):
            asyncio.run(asynchronous(AsyncClient("127.0.0.1", served.address.port)))


def test_the_client_imports_the_standard_library_alone():
    program = (
        "import sys; before = set(sys.modules); import vaurien; vaurien.Client; print(*(set(sys.modules) - before))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    foreign = {name.partition(".")[0] for name in result.stdout.split()} - sys.stdlib_module_names
    assert foreign == {"vaurien"}


def test_a_token_and_a_socket(tmp_path):
    path = tmp_path / "api"
    with interface(f"unix:{path}", token="secret"):
        assert at(f"unix:{path}", token="secret").list_proxies() == []
        with pytest.raises(Refused, match="wants its token") as caught:
            at(f"unix:{path}").list_proxies()
        assert caught.value.status == 401
        with pytest.raises(Refused):  # not a ValueError: nothing is wrong with the behavior
            at(f"unix:{path}").set_behavior("hang")
        stream = AsyncClient(path=str(path), token="secret").events
        at(f"unix:{path}", token="secret").create_proxy(name="p", backend="localhost:9")
        assert asyncio.run(_first(stream()))["type"] == "Listening"


def test_a_token_of_the_environment(monkeypatch):
    with interface(token="secret") as served:
        where = ("127.0.0.1", served.address.port)
        monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", "secret\n")
        assert Client(*where).list_proxies() == []
        assert at(f"127.0.0.1:{where[1]}").list_proxies() == []
        assert asyncio.run(AsyncClient(*where).list_proxies()) == []
        for token, message in (("", "wants its token"), ("other", "this is not the token")):
            with pytest.raises(Refused, match=message):
                Client(*where, token=token).list_proxies()
        monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", "other")
        assert Client(*where, token="secret").list_proxies() == []


@pytest.mark.parametrize("token", ["two words", "line\nX-Header: 1", "caf\xe9"])
def test_a_token_that_is_none_is_refused_and_not_shown(monkeypatch, token):
    with pytest.raises(ValueError, match=r"^token: a token has printable ASCII") as caught:
        Client(token=token)
    assert token not in str(caught.value)
    monkeypatch.setenv("TOXIPROXY_AUTH_TOKEN", token)
    with pytest.raises(ValueError, match=r"^environment variable TOXIPROXY_AUTH_TOKEN: a token has"):
        AsyncClient()


def test_nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    words = rf"http://127.0.0.1:{port} does not answer \(.*refused\); is vaurien running there with --http\? "
    words += r"\(vaurien serve is at http://localhost:8474 by default\)"
    with pytest.raises(Unreachable, match=words):
        Client("127.0.0.1", port).get_behavior()


async def _first(stream):
    async with contextlib.aclosing(stream):
        return await anext(stream)


@pytest.mark.parametrize("text", [b"<html>", b"[]", b"3", b"{}", b"null"])
def test_somebody_else_answers(text):
    with stranger(200, text) as client, pytest.raises(Unreachable, match="is not vaurien's interface: "):
        client.get_behavior()


@contextlib.contextmanager
def stranger(status, text):
    """A server that is not ours."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield Client("127.0.0.1", server.server_port)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("text", [b"nope", b"[]", b'{"error": "x"}', b'{"errors": []}'])
def test_an_error_of_somebody_else(text):
    with stranger(502, text) as client, pytest.raises(Refused, match="502 Bad Gateway: ") as caught:
        client.get_behavior()
    assert text.decode() in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h:1", "http://h:1"),
        ("h", "http://h:8080"),
        ("[::1]:2", "http://[::1]:2"),
        ("https://h/", "https://h:443"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_a_url_names_the_interface(url, shown):
    assert at(url).url == shown


@pytest.mark.parametrize("url", ["", "ftp://h", "http://h/path", "http://h:x", "http://[::1"])
def test_a_url_that_does_not(url):
    with pytest.raises(ValueError, match="expected http://host:port"):
        at(url)


def test_a_scheme_that_there_is_not():
    with pytest.raises(ValueError, match="expected http or https"):
        Client(scheme="ftp")
