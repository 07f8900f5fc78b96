from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import msgspec
import pytest

from vaurien import __version__
from vaurien.config import fault
from vaurien.config.schedule import Schedule, ScheduleStep
from vaurien.errors import OptionError
from vaurien.events import Closed, Delayed, Injected
from vaurien.model import Address, Mix, Policy, ProxyConfig
from vaurien.scenario import report
from vaurien.scenario.player import FailedStep
from vaurien.scenario.tally import Tally

CONFIG = ProxyConfig(
    name="web",
    listen=Address("localhost", 0),
    backend=Address("localhost", 80),
    policy=Policy(Mix.parse("20:delay"), (fault.parse("latency latency=100"),)),
)
SCHEDULE = Schedule(
    (
        ScheduleStep(1.0, add=(fault.parse("reset_peer name=cut match.path='a|<b>'"),)),
        ScheduleStep(2.0, proxy="other", add=(fault.parse("noop"),)),
    )
)


@pytest.fixture
def made():
    def call(status=0):
        tally = Tally()
        tally.set_policy("web", CONFIG.policy)
        common = {"proxy": "web", "at": 1.0, "connection": 1}
        tally(Injected(**common, fault="latency"))
        tally(Delayed(**common, fault="latency", seconds=0.1))
        tally(Injected(**common, fault="by hand"))
        tally(Closed(**common, peer="x", sent=3, received=5, end="client closed", duration=1.0))
        proxy = report.of_proxy(CONFIG, "127.0.0.1:8000", SCHEDULE, tally)
        return report.RunReport(("pytest", "-k", "a & b"), status, 1.5, "7", 2, (proxy,))

    return call


def test_json_has_all_of_it(made):
    told = json.loads(report.json(made(3)))
    [proxy] = told.pop("proxies")
    assert told == {
        "command": ["pytest", "-k", "a & b"],
        "status": 3,
        "duration": 1.5,
        "seed": "7",
        "steps": 2,
        "failed_steps": [],
        "unmet": [],
        "due": None,
        "version": __version__,
        "moments": [],
        "changes": [],
    }
    assert [(one["name"], one["told"], one["hits"]) for one in proxy.pop("faults")] == [
        ("latency", "latency latency=100", 1),
        ("delay", "20:delay", 0),
        ("cut", "reset_peer name=cut match.path='a|<b>'", 0),
        ("by hand", "", 1),
    ]
    assert proxy == {
        "name": "web",
        "address": "127.0.0.1:8000",
        "backend": "localhost:80",
        "protocol": "tcp",
        "connections": 0,
        "failed": 0,
        "ends": {"client closed": 1},
        "sent": 3,
        "received": 5,
    }


def test_markdown_is_for_people(made):
    text = report.markdown(made())
    assert "`pytest -k 'a & b'` ended with status 0 after 1.5 s; seed 7, steps played: 2." in text
    assert "| web | 127.0.0.1:8000 | localhost:80 | 0 | 0 | 3 | 5 | client closed: 1 |" in text
    assert "| web | `latency latency=100` |  | 1 | 1 | 0 | 1 | 100.0 ms | 100.0 ms | 100.0 ms |" in text
    assert "match.path='a\\|<b>'" in text
    assert "| web | by hand |" in text


@pytest.mark.parametrize(("status", "failures"), [(0, "0"), (3, "1")])
def test_junit_is_for_build_servers(made, status, failures):
    suite = ET.fromstring(report.junit(made(status)))
    assert (suite.tag, suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
        "testsuite",
        "5",
        failures,
        "2",
    )
    command, latency, _, cut, *_ = suite.findall("testcase")
    assert command.get("name") == "pytest -k 'a & b'"
    assert [failure.get("message") for failure in command] == (["ended with status 3"] if status else [])
    assert latency.findtext("system-out") == "hits: 1, on connections: 1, late by 0.100 s in total"
    assert cut.get("name") == "reset_peer name=cut match.path='a|<b>'"
    assert cut.find("skipped").get("message") == "never acted"


def test_a_step_that_failed_is_in_all_of_them(made):
    failed = FailedStep(2, 0.5, 3, "chaos.toml line 9", "web", "port <8000> is taken")
    told = msgspec.structs.replace(made(), failed_steps=(failed,))
    assert json.loads(report.json(told))["failed_steps"] == [msgspec.to_builtins(failed)]
    said = "**step 2 of chaos.toml line 9 at 0.5 s failed** on web, in round 3: port <8000> is taken"
    assert said in report.markdown(told)
    suite = ET.fromstring(report.junit(told))
    *_, case = suite.findall("testcase")
    assert (suite.get("tests"), suite.get("failures")) == ("6", "1")
    assert (case.get("classname"), case.get("name")) == (
        "vaurien.web",
        "step 2 of chaos.toml line 9 at 0.5 s, round 3",
    )
    assert case.find("failure").get("message") == "port <8000> is taken"


@pytest.mark.parametrize(
    ("due", "said"),
    [(2, "steps played: 2."), (5, "steps played: 2 of 5, the command ended first."), (None, "played: 2.")],
)
def test_a_command_that_ends_before_its_steps(made, due, said):
    assert said in report.markdown(msgspec.structs.replace(made(), due=due))


def test_each_setting_of_a_fault_is_a_row():
    change = Schedule((ScheduleStep(1.0, change=(fault.parse("latency latency=900"),)),))
    rows = report.of_proxy(CONFIG, "x", change, Tally()).faults
    assert [one.told for one in rows] == ["latency latency=100", "20:delay", "latency latency=900"]


def test_the_ending_of_the_file_says_how():
    assert [report.form(path, "--report") for path in ("a.json", "b.MD", "c.xml", "d.html")] == [
        report.json,
        report.markdown,
        report.junit,
        report.html,
    ]
    with pytest.raises(
        OptionError, match=r"option report: 'a.pdf' \(from --report\) .* ends in .json, .md, .xml, .html"
    ):
        report.form("a.pdf", "--report")


def test_a_share_that_leaves_all_alone_is_no_fault_that_may_hit():
    config = msgspec.structs.replace(CONFIG, policy=Policy(Mix.parse("20:delay,80:dummy"), CONFIG.policy.faults))
    tally = Tally()
    tally.set_policy("web", config.policy)
    made = report.of_proxy(config, "127.0.0.1:8000", Schedule(), tally)
    assert [one.name for one in made.faults] == ["latency", "delay"]
    unmet = report.unmet(config, Schedule(), tally, {}, required=True)
    assert [one.fault for one in unmet] == ["delay", "latency"]
