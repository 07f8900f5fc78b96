"""What pytest shows of a mistake in a test: one error at the line of the test, and no frame of ours."""

from __future__ import annotations

import re

import pytest

MISTAKES = {
    "proxy.fault('latnecy')": "UnknownName: unknown behavior or handler 'latnecy'; did you mean 'latency'?",
    "proxy.fault('latency', latnecy=1)": "UnknownName: unknown option 'latnecy' of fault 'latency'; did you mean",
    "proxy.mix('20:dely')": "UnknownName: unknown behavior or handler 'dely'",
    "proxy.preset('3h')": "UnknownName: unknown preset '3h'; did you mean '3g'?",
    "proxy.hits('nope')": "UnknownName: ",
    "proxy.expect('noop')": "NotHit: fault 'noop' of proxy 'vaurien' hit 0 times, expected 1 or more: ",
    "proxy.wait_for_hits('noop', timeout=0.01)": "TimeoutError: ",
    "proxy.wait_for_connections(1, timeout=0.01)": "TimeoutError: ",
    "package.Proxy('google')": "OptionError: option backend: 'google' (from keyword backend) is not valid",
    "package.AsyncProxy('google')": "OptionError: option backend: 'google' (from keyword backend) is not valid",
    "package.Proxy('h:1', protocl='http')": "UnknownName: unknown argument 'protocl' of Proxy; did you mean",
    "package.Proxy('h:1', listen=proxy.address).start()": "BindError: ",
    "vaurien('h:1', listen=proxy.address)": "BindError: ",
    "with package.Proxy('h:1', listen=proxy.address): pass": "BindError: ",
    "with package.Proxy('h:1', faults=['noop expect_hits=1']): pass": "NotHit: ",
}

AWAITED = {
    "await package.AsyncProxy('h:1', listen=proxy.address).start()": "BindError: ",
    "async with package.AsyncProxy('h:1', listen=proxy.address): pass": "BindError: ",
    "async with package.AsyncProxy('h:1', faults=['noop expect_hits=1']): pass": "NotHit: ",
    "async with package.AsyncProxy('h:1', faults=['noop']) as one: await one.wait_for_hits('noop', timeout=0.01)": (
        "TimeoutError: "
    ),
    "async with package.AsyncProxy('h:1') as one: await one.wait_for_connections(1, timeout=0.01)": "TimeoutError: ",
    "await package.AsyncProxy('h:1').wait_for_hits('noop')": "VaurienError: ",
}

MODULE = """
import pytest
import vaurien as package


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def proxy():
    with package.Proxy("127.0.0.1:9", faults=["noop"]) as proxy:
        yield proxy


"""


def test_the_report_ends_at_the_line_of_the_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = [f"def test_{number}(proxy, vaurien):\n    {call}\n\n\n" for number, call in enumerate(MISTAKES)]
    tests += [
        f"@pytest.mark.anyio\nasync def test_{number}(proxy):\n    {call}\n\n\n"
        for number, call in enumerate(AWAITED, len(MISTAKES))
    ]
    mistakes = MISTAKES | AWAITED
    pytester.makepyfile(test_it=MODULE + "".join(tests))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = ("-p", "no:cacheprovider", "-p", "vaurien.pytest_plugin", "-p", "anyio.pytest_plugin")
    ran = pytester.runpytest_inprocess("-q", *plugins, "--tb=long")
    ran.assert_outcomes(failed=len(mistakes))
    reports = re.split(r"^_+ test_\d+ _+$", ran.stdout.str(), flags=re.MULTILINE)[1:]
    for (call, message), report in zip(mistakes.items(), reports, strict=True):
        report = report.partition("short test summary info")[0]
        places = re.findall(r"^\S*\.py:\d+: ", report, flags=re.MULTILINE)
        assert len(places) == 1, report
        assert places[0].startswith("test_it.py:"), call
        [error] = re.findall(r"^E .*", report, flags=re.MULTILINE)
        assert message in error
