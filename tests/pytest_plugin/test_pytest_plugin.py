from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest


def test_loading_it_imports_nothing_of_vaurien():
    program = (
        "import sys, vaurien.pytest_plugin; print(*sorted(name for name in sys.modules if name.startswith('vaurien')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["vaurien", "vaurien.pytest_plugin", "vaurien.version"]


def test_a_run_that_does_not_use_it_imports_nothing_of_vaurien(suite):
    result = suite(
        """
        import sys

        def test_nothing():
            ours = sorted(name for name in sys.modules if name.startswith("vaurien."))
            assert ours == ["vaurien.pytest_plugin", "vaurien.version"]
        """,
        inside=False,
    )
    result.assert_outcomes(passed=1)


def test_the_fixtures_the_marker_and_the_option_explain_themselves(suite):
    result = suite("", "--fixtures", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.vaurien(backend, faults=(), mix='', protocol='tcp', …): *"])
    result = suite("", "--fixtures")
    wanted = ["vaurien -- *", "*Make a proxy: *", "vaurien_proxy -- *", "vaurien_ca *session scope* -- *"]
    result.stdout.fnmatch_lines_random(wanted)
    suite("", "--help").stdout.fnmatch_lines(["faults on connections:", "*--vaurien-seed=SEED*"])


def test_the_entry_point_has_the_modules_name():
    """So that it is not loaded twice where `-p` names it too."""
    try:
        points = metadata.distribution("vaurien").entry_points
    except metadata.PackageNotFoundError:
        pytest.skip("not installed")
    [point] = [point for point in points if point.group == "pytest11"]
    assert point.name == point.value == "vaurien.pytest_plugin"


def test_no_dependency_brings_a_plugin_for_pytest():
    """Every run of pytest would load it, where Vaurien is installed."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    seen, left = set(), list(project["dependencies"])
    while left:
        name = re.match(r"[\w.-]+", left.pop())[0].lower()
        if name in seen:
            continue
        seen.add(name)
        with contextlib.suppress(metadata.PackageNotFoundError):  # it is for another system, or another Python
            needs = metadata.distribution(name)
            assert not needs.entry_points.select(group="pytest11"), name
            left += [one for one in needs.requires or () if "extra ==" not in one]
    assert {"click", "msgspec", "uvicorn"} <= seen


class TestTheFactory:
    def test_it_makes_proxies_and_closes_them(self, suite):
        result = suite(
            """
            import threading

            made = []

            def test_two(vaurien, echo, says):
                one, two = vaurien(backend=echo), vaurien(echo, faults=["latency latency=1"])
                assert (one.name, two.name) == ("vaurien", "vaurien-2")
                assert one.seed == two.seed == vaurien.seed
                assert says(one) == says(two) == b"hello"
                assert two.hits("latency")
                made.append(one)

            def test_nothing_is_left():
                assert repr(made[0]).startswith("<Proxy 'vaurien' closed")
                assert [one.name for one in threading.enumerate() if one.name.startswith("vaurien")] == []
            """,
        )
        result.assert_outcomes(passed=2)

    def test_what_is_wrong_is_raised_at_the_call(self, suite):
        result = suite(
            """
            import pytest
            from vaurien import VaurienError

            def test_wrong(vaurien, echo):
                with pytest.raises(VaurienError, match="did you mean 'protocol'"):
                    vaurien(backend=echo, protocl="redis")
                with pytest.raises(VaurienError, match="cannot listen"):
                    vaurien(backend="127.0.0.1:1", listen=echo)
            """
        )
        result.assert_outcomes(passed=1)


class TestTheMarker:
    def test_the_backend_is_an_address_a_fixture_or_a_callable(self, suite):
        result = suite(
            """
            import pytest

            @pytest.mark.vaurien(backend="echo")
            def test_fixture(vaurien_proxy, says):
                assert says(vaurien_proxy) == b"hello"

            @pytest.mark.vaurien(backend="localhost:1", name="cache")
            def test_address(vaurien_proxy):
                assert str(vaurien_proxy.backend) == "localhost:1"
                assert vaurien_proxy.name == "cache"

            @pytest.mark.vaurien(backend=lambda: ("127.0.0.1", 7))
            def test_callable(vaurien_proxy):
                assert str(vaurien_proxy.backend) == "127.0.0.1:7"
            """
        )
        result.assert_outcomes(passed=3)

    def test_a_fixture_that_lacks_another_one_says_so(self, suite):
        result = suite(
            """
            import pytest

            @pytest.fixture
            def broken(absent):
                pass

            @pytest.mark.vaurien(backend="broken")
            def test_it(vaurien_proxy):
                pass
            """
        )
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*fixture 'absent' not found"])

    def test_the_closest_marker_comes_before_those_around_it(self, suite):
        result = suite(
            """
            import pytest

            pytestmark = pytest.mark.vaurien(backend="localhost:1", protocol="redis", seed=1)

            @pytest.mark.vaurien(protocol="http", faults=["noop"])
            class TestAll:
                @pytest.mark.vaurien(seed=7)
                def test_one(self, vaurien_proxy):
                    config = vaurien_proxy._proxy_host.proxy.config
                    assert (config.protocol, config.seed, str(config.backend)) == ("http", "7", "localhost:1")
                    assert list(vaurien_proxy.hits()) == ["noop"]
            """
        )
        result.assert_outcomes(passed=1)

    @pytest.mark.parametrize(
        ("marker", "text"),
        [
            ("", "@pytest.mark.vaurien: it has no backend, which vaurien_proxy needs; expected @pytest.mark."),
            (
                "@pytest.mark.vaurien(bakend='127.0.0.1:1')",
                "@pytest.mark.vaurien: unknown argument 'bakend' of Proxy; did you mean 'backend'?",
            ),
            ("@pytest.mark.vaurien(faults=['hang'])", "@pytest.mark.vaurien: it has no backend, which vaurien_proxy"),
            ("@pytest.mark.vaurien('a:1')", "@pytest.mark.vaurien: 'a:1' has no name; expected keywords, such as"),
            (
                "@pytest.mark.vaurien(backend='a:1', fault=['hang'])",
                "@pytest.mark.vaurien: unknown argument 'fault' of Proxy; did you mean 'faults'?",
            ),
            (
                "@pytest.mark.vaurien(backend='a:1', faults=['hung'])",
                "@pytest.mark.vaurien: unknown behavior or handler 'hung' (from keyword faults); did you mean 'hang'?",
            ),
            (
                "@pytest.mark.vaurien(backend='redis')",
                "@pytest.mark.vaurien: backend='redis' is neither an address (host:port) nor the name of a fixture",
            ),
            (
                "@pytest.mark.vaurien(backend=7)",
                "@pytest.mark.vaurien: option backend: 7 (from keyword backend) is not",
            ),
        ],
    )
    def test_misuse_is_one_line_that_names_the_argument(self, suite, marker, text):
        result = suite(f"import pytest\n\n{marker}\ndef test_it(vaurien_proxy):\n    pass\n")
        result.assert_outcomes(errors=1)
        [begin] = [number for number, line in enumerate(result.outlines) if "ERROR at setup of test_it" in line]
        told, after = result.outlines[begin + 1 : begin + 3]
        assert f"::test_it: {text}" in told
        assert after.startswith("=====")

    def test_a_marker_without_its_fixture_is_one_line(self, suite):
        result = suite(
            """
            import pytest

            pytestmark = pytest.mark.vaurien(backend="localhost:1")

            @pytest.mark.vaurien(mix="100:error")
            def test_other_fixture(vaurien):
                pass

            @pytest.mark.vaurien(mix="100:error")
            def test_used_later(request):
                request.getfixturevalue("vaurien_proxy")

            def test_beside_it():
                pass
            """
        )
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(
            ["*::test_other_fixture: @pytest.mark.vaurien: the test does not use the proxy that it describes; *"]
        )


DICE = """
import pytest

@pytest.mark.vaurien(backend="echo", faults=["blackout scope=exchange probability=0.5"])
def test_dice(vaurien_proxy, says):
    answers = [says(vaurien_proxy) for _ in range(20)]
    assert answers == [b"hello"] * 20
"""


def told(result):
    """What the section says: the proxy's line, and the command."""
    [section] = re.findall(r"^-+ vaurien -+\n(.*?\n)(?:-|=)", str(result.stdout), re.DOTALL | re.MULTILINE)
    return section.splitlines()


class TestTheReport:
    def test_a_failing_test_is_repeated_by_the_line_in_its_report(self, suite, pytester):
        first = suite(DICE)
        first.assert_outcomes(failed=1)
        proxy, command = told(first)
        assert re.fullmatch(r"proxy 'vaurien' -> 127\.0\.0\.1:\d+, 20 connections: blackout hit \d+ times", proxy)
        found = re.fullmatch(r"repeat it with: pytest (\S+::test_dice) --vaurien-seed=(\d+)", command)
        first.stdout.fnmatch_lines([f"vaurien: --vaurien-seed={found[2]}"])
        again = suite(DICE, found[1], f"--vaurien-seed={found[2]}")
        assert hits(told(again)[0]) == hits(proxy)

    def test_other_tests_and_their_order_do_not_matter(self, suite):
        before = "def test_before(vaurien_proxy, says):\n    says(vaurien_proxy)\n"
        alone = suite(DICE, "--vaurien-seed=5")
        among = suite(f"{DICE}\n@pytest.mark.vaurien(backend='echo', mix='50:error')\n{before}", "--vaurien-seed=5")
        assert hits(told(alone)[0]) == hits(told(among)[0])

    def test_another_seed_throws_other_dice(self, suite):
        seen = {hits(told(suite(DICE, f"--vaurien-seed={seed}"))[0]) for seed in range(4)}
        assert len(seen) > 1

    def test_what_went_wrong_otherwise_is_told_once(self, suite):
        result = suite(
            """
            import pytest

            @pytest.mark.vaurien(backend="127.0.0.1:1")
            def test_absent(vaurien_proxy, says):
                assert says(vaurien_proxy) + says(vaurien_proxy) == b"hello"
            """
        )
        lines = told(result)
        assert lines[0] == "proxy 'vaurien' -> 127.0.0.1:1, 2 connections: no fault"
        assert lines[1] == "  dial: backend 127.0.0.1:1: Connection refused"
        assert len(lines) == 3

    def test_a_test_that_passes_says_nothing(self, suite):
        result = suite("def test_it(vaurien):\n    vaurien('127.0.0.1:1')\n", "-rA")
        result.assert_outcomes(passed=1)
        result.stdout.no_fnmatch_line("*repeat it with*")

    def test_the_path_is_seen_from_where_pytest_was_called(self, suite, pytester, monkeypatch):
        folder = pytester.mkdir("below")
        pytester.makeini("[pytest]")
        pytester.makepyfile(**{"below/test_it": "def test_it(vaurien):\n    vaurien('127.0.0.1:1')\n    assert 0"})
        monkeypatch.chdir(folder)
        result = pytester.runpytest_inprocess(
            "-p", "vaurien.pytest_plugin", "-p", "no:cacheprovider", "--vaurien-seed=a b"
        )
        assert told(result)[-1] == "repeat it with: pytest test_it.py::test_it --vaurien-seed='a b'"


def hits(line):
    return re.findall(r"(\w+) hit (\d+)", line)[0]


ASYNC = """
import asyncio
import pytest

async def hello(proxy):
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(b"hello")
    answer = await reader.read(5)
    writer.close()
    return answer

@pytest.mark.{plugin}
@pytest.mark.vaurien(backend="echo", faults=["latency latency=1"])
async def test_with_a_thread(vaurien_proxy):
    assert await hello(vaurien_proxy) == b"hello"
    assert vaurien_proxy.hits("latency")

@pytest.mark.{plugin}
async def test_in_the_loop(vaurien, echo):
    async with vaurien.asynchronous(echo) as proxy:
        with proxy.fault("latency", latency=1):
            assert await hello(proxy) == b"hello"
        assert proxy.hits("latency")
        assert proxy.hits("latency") == 0
"""


class TestWithOthers:
    @pytest.mark.parametrize(
        ("plugin", "module"), [("asyncio", "pytest_asyncio.plugin"), ("anyio", "anyio.pytest_plugin")]
    )
    def test_in_asynchronous_tests(self, suite, pytester, plugin, module):
        pytest.importorskip(module)
        pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
        backend = "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n" if plugin == "anyio" else ""
        result = suite(ASYNC.replace("{plugin}", plugin) + backend, plugins=[module])
        result.assert_outcomes(passed=1, failed=1)
        assert told(result)[0].endswith("1 connection: latency hit 2 times on 1 connection")

    def test_under_trio(self, suite):
        pytest.importorskip("trio")
        result = suite(
            """
            import pytest, trio

            @pytest.mark.anyio
            @pytest.mark.parametrize("anyio_backend", ["trio"])
            @pytest.mark.vaurien(backend="echo", faults=["latency latency=1"])
            async def test_trio(vaurien_proxy, anyio_backend):
                async with await trio.open_tcp_stream(vaurien_proxy.host, vaurien_proxy.port) as stream:
                    await stream.send_all(b"hello")
                    assert await stream.receive_some(5) == b"hello"
                assert vaurien_proxy.hits("latency")
            """,
            plugins=["anyio.pytest_plugin"],
        )
        result.assert_outcomes(passed=1)

    def test_the_workers_of_xdist_have_the_seed_of_all_and_ports_of_their_own(self, suite):
        pytest.importorskip("xdist")
        text = (
            "import pytest\n\n"
            "@pytest.mark.parametrize('number', range(12))\n"
            "@pytest.mark.vaurien(backend='echo', faults=['blackout scope=exchange probability=0.5'])\n"
            "def test_it(vaurien_proxy, says, number):\n"
            "    answers = [says(vaurien_proxy) for _ in range(5)]\n"
            "    with vaurien_proxy.down():\n"
            "        assert says(vaurien_proxy) == b''\n"
            "    assert answers == [b'hello'] * 5\n"
        )
        alone = suite(text, "--vaurien-seed=3")
        several = suite(text, "--vaurien-seed=3", "-n", "2", plugins=["xdist.plugin"])
        several.stdout.fnmatch_lines(["vaurien: --vaurien-seed=3"])
        assert several.parseoutcomes() == alone.parseoutcomes()
        assert alone.parseoutcomes()["failed"] > 1
        assert failures(several) == failures(alone)

    def test_a_group_of_xdist_does_not_change_the_dice(self, suite):
        pytest.importorskip("xdist")
        grouped = DICE.replace("import pytest\n", "import pytest\n\npytestmark = pytest.mark.xdist_group('one')\n")
        alone = suite(grouped, "--vaurien-seed=3", plugins=["xdist.plugin"])
        several = suite(grouped, "--vaurien-seed=3", "-n", "1", "--dist", "loadgroup", plugins=["xdist.plugin"])
        assert hits(told(several)[0]) == hits(told(alone)[0])
        assert "@one" not in told(several)[-1]


def failures(result):
    """The tests that failed, and what hit them."""
    found = re.findall(r"connections?: (.*)\nrepeat it with: pytest (\S+)", str(result.stdout))
    return sorted((name, what) for what, name in found)


class TestExpectedHits:
    def test_a_test_that_passes_without_them_fails(self, suite):
        result = suite(
            """
            import pytest

            @pytest.mark.vaurien(backend="echo", faults=["latency latency=1"], expect_hits={"latency": "1.."})
            def test_marker(vaurien_proxy):
                pass

            @pytest.mark.vaurien(backend="echo", faults=["latency latency=1"], expect_hits="1..")
            def test_all(vaurien_proxy, says):
                assert says(vaurien_proxy) == b"hello"

            def test_fault(vaurien, echo):
                vaurien(backend=echo, faults=["latency latency=1 expect_hits=1.."])

            def test_failing(vaurien, echo):
                vaurien(backend=echo, faults=["latency latency=1 expect_hits=1.."])
                assert False, "for another reason"
            """
        )
        result.assert_outcomes(passed=1, failed=3)
        expected = "fault 'latency' of proxy 'vaurien' hit 0 times, expected 1 or more: no connection has come *"
        result.stdout.fnmatch_lines([expected, expected])
        result.stdout.fnmatch_lines(["*for another reason*"])

    def test_a_client_without_tls_is_named_as_the_reason(self, suite):
        pytest.importorskip("cryptography")
        result = suite(
            """
            def test_fault(vaurien, says, echo):
                assert says(vaurien(backend=echo, tls="auto", faults=["hang"])) == b"hello"
            """
        )
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*hang*1 connection, which sent plain text where the proxy speaks TLS; *"])


LOOKING = """
import asyncio, json, re, time, urllib.error, urllib.request
import pytest
import vaurien as package

@pytest.fixture
def ask(request):
    header = "\\n".join(map(str, request.config.hook.pytest_report_header(config=request.config, start_path=None)))
    address = re.search(r"dashboard at (http://\\S+)/", header)[1]

    def ask(path, method="GET"):
        with urllib.request.urlopen(urllib.request.Request(address + path, method=method)) as answer:
            return answer.read().decode()
    return ask

def shown(ask):
    return {one["name"]: one for one in json.loads(ask("/api/v1/proxies"))["proxies"]}

def until(seen):
    deadline = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)
"""


def test_the_page_shows_proxies_while_they_run_and_what_tests_change(suite):
    result = suite(
        LOOKING
        + """
def test_of_the_fixture(vaurien, echo, says, ask):
    assert "<title>" in ask("/")
    proxy = vaurien("%s:%d" % echo)
    until(lambda: "vaurien" in shown(ask))
    other = vaurien("%s:%d" % echo, name="vaurien")
    until(lambda: "vaurien-2" in shown(ask))
    with other.fault("delay", sleep=0.001):
        until(lambda: [one["name"] for one in shown(ask)["vaurien-2"]["faults"]] == ["delay"])
        assert shown(ask)["vaurien"]["faults"] == []
        says(other)
        until(lambda: shown(ask)["vaurien-2"]["fault_states"]["delay"]["hits"] == 1)
    until(lambda: shown(ask)["vaurien-2"]["faults"] == [])
    other.close()
    until(lambda: "vaurien-2" not in shown(ask))

def test_of_another_loop_and_in_plain_code(echo, ask):
    async def connected():
        async with package.AsyncProxy("%s:%d" % echo, name="elsewhere") as proxy:
            await asyncio.to_thread(until, lambda: "elsewhere" in shown(ask))
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            await proxy.wait_for_connections(1)
            connections = json.loads(await asyncio.to_thread(ask, "/api/v1/proxies/elsewhere/connections"))
            assert len(connections["connections"]) == 1
            writer.close()
    asyncio.run(connected())
    until(lambda: "elsewhere" not in shown(ask))
    with package.Proxy("%s:%d" % echo, name="plain"):
        until(lambda: "plain" in shown(ask))

def test_nothing_can_be_changed(vaurien, echo, ask):
    vaurien("%s:%d" % echo)
    with pytest.raises(urllib.error.HTTPError) as error:
        ask("/api/v1/reset", "POST")
    assert error.value.code == 403
    assert "belong to the code that made them" in error.value.read().decode()
""",
        "--vaurien-dashboard",
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["vaurien: dashboard at http://127.0.0.1:*/"])


def test_the_page_is_not_there_without_its_option(suite):
    result = suite(
        """
        from vaurien.library import proxy_host

        def test_nothing(vaurien, echo):
            vaurien("%s:%d" % echo)
            assert proxy_host.watching == []
        """
    )
    result.assert_outcomes(passed=1)
    assert "dashboard at" not in result.stdout.str()


def test_a_port_that_is_taken_ends_the_run_with_one_line(suite):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = suite("def test(): pass", "--vaurien-dashboard", f"--vaurien-dashboard-port={port}")
    result.stderr.fnmatch_lines(
        [f"ERROR: --vaurien-dashboard: cannot listen on 127.0.0.1:{port}: Address already in use"]
    )


@pytest.mark.parametrize("port", [-1, 70000])
def test_a_port_of_the_page_that_is_none(suite, port):
    result = suite("def test(): pass", "--vaurien-dashboard", f"--vaurien-dashboard-port={port}")
    result.stderr.fnmatch_lines([f"ERROR: --vaurien-dashboard-port: {port} is not valid; expected a port from 0 to*"])


def test_xdist_and_the_page_are_refused_together(suite):
    pytest.importorskip("xdist")
    result = suite("def test(): pass", "--vaurien-dashboard", "-n1", plugins=("xdist",), inside=False)
    output = result.stdout.str() + result.stderr.str()
    assert "--vaurien-dashboard: xdist runs the tests in other processes; expected -n 0 beside it" in output
    assert result.ret == pytest.ExitCode.USAGE_ERROR
