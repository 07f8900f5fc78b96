from __future__ import annotations

import pytest

from vaurien import config
from vaurien.config.layers import Given
from vaurien.config.schedule import Schedule, ScheduleStep, check_schedule
from vaurien.errors import OptionError, UnknownName, VaurienError
from vaurien.model import Fault, Mix, Share


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(text):
        (tmp_path / "chaos.toml").write_text(text)
        return config.load({}, {}, Given("chaos.toml", "--config"))

    return call


def test_steps_are_played_in_the_order_of_time(load):
    schedule = load(
        """
[schedule]
repeat = 3
length = "1m"
[[step]]
at = "20s"
remove = "slow"
mix = ""
[[step]]
at = 10
change = "latency name=slow latency=200"
[[step]]
add = ["latency name=slow latency=100", {behavior = "noop", name = "nothing"}]
mix = "20:delay"
"""
    ).schedule
    slow = Fault(name="slow", behavior="latency", options={"latency": 100.0})
    slower = Fault(name="slow", behavior="latency", options={"latency": 200.0})
    nothing = Fault(name="nothing", behavior="noop")
    assert schedule == Schedule(
        (
            ScheduleStep(0.0, add=(slow, nothing), mix=Mix.parse("20:delay"), source="chaos.toml line 12 [[step]]"),
            ScheduleStep(10.0, change=(slower,), source="chaos.toml line 9 [[step]]"),
            ScheduleStep(20.0, remove=("slow",), mix=Mix(), source="chaos.toml line 5 [[step]]"),
        ),
        length=60.0,
        repeat=3,
    )


def test_the_mix_of_a_step_has_the_options_of_its_sections(load):
    [step] = load("[behavior.delay]\nsleep = 7\n[[step]]\nmix = '20:delay'\n").schedule.steps
    assert step.mix is not None
    assert step.mix.shares == (Share(20.0, "delay", {"sleep": 7.0}),)


def test_without_steps_there_is_nothing_to_play(load):
    assert load("[vaurien]\n").schedule == Schedule()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[[step]]\nat = -1\n",
            "step option at: -1 (from chaos.toml line 2 [[step]] at) is not valid; expected seconds",
        ),
        ("[[step]]\nwhen = 1\n", "unknown key 'when' of step (from chaos.toml line 2 [[step]] when); "),
        (
            "\n[[step]]\nadd = 'latncy'\n",
            "unknown behavior or handler 'latncy' (from chaos.toml line 3 [[step]] add); did",
        ),
        (
            "[[step]]\nadd = ['noop', 'noop']\n",
            "fault to add: 'noop' (from chaos.toml line 1 [[step]]) is not valid; exp",
        ),
        (
            "[[fault]]\nbehavior = 'noop'\n[[step]]\nadd = 'noop'\n",
            "(from chaos.toml line 3 [[step]]) is not valid; exp",
        ),
        (
            "[[step]]\nremove = 'a'\n",
            "unknown fault 'a' of the step at 0 s (from chaos.toml line 1 [[step]]); none is known",
        ),
        (
            "[[step]]\nchange = 'noop'\n",
            "unknown fault 'noop' of the step at 0 s (from chaos.toml line 1 [[step]]); none",
        ),
        (
            "[[step]]\nremove = 3\n",
            "step option remove: 3 (from chaos.toml line 2 [[step]] remove) is not valid; expecte",
        ),
        ("[[step]]\nadd = 3\n", "fault: 3 (from chaos.toml line 2 [[step]] add) is not valid; expected text such as"),
        (
            "[[step]]\nmix = '120:delay'\n",
            "behavior: '120:delay' (from chaos.toml line 2 [[step]] mix) is not valid; exp",
        ),
        (
            "[[step]]\nmix = '10:noop,20:delya'\n",
            "unknown behavior or handler 'delya' (from chaos.toml line 2 [[step]] mix); did you mean 'delay'?",
        ),
        (
            "[[step]]\nproxy = 'web'\n",
            "unknown proxy 'web' of a step (from chaos.toml line 1 [[step]]); known are: vauri",
        ),
        (
            "[schedule]\nrepeat = 0\n",
            "schedule option repeat: 0 (from chaos.toml line 2 [schedule] repeat) is not valid; expect",
        ),
        (
            "[schedule]\nlength = 1\n[[step]]\nat = 2\n",
            "schedule option length: 1.0 (from chaos.toml line 2 [schedule] length)",
        ),
        ("[schedule]\nevery = 1\n", "unknown key 'every' of schedule (from chaos.toml line 2 [schedule] every); "),
        (
            "[schedule]\nstep = 1\n",
            "schedule: 1 (from chaos.toml line 2 [schedule] step) is not valid; expected [[step]] table",
        ),
        (
            "[[fault]]\nbehavior = 'noop'\n\n[[fault]]\nbehavior = 'noop'\n",
            "(from chaos.toml line 4 [[fault]]) is not va",
        ),
        (
            "[[fault]]\nbehavior = 'latency'\nlatency = -1\n",
            "behavior 'latency' option latency: -1 (from chaos.toml line 3",
        ),
        (
            "[vaurien]\npreset = '3g, 3g'\n",
            "fault 'slow_accept' option name: '3g-accept' (from preset 3g line 5 [[fault]])",
        ),
        ("[vaurien]\npreset = 'brown-out'\n[[step]]\n", "expected one schedule, there is that of chaos.toml already"),
        ("fault = ['noop', 3]\n", "chaos.toml [[fault]]: 'noop' is not valid; expected a table"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(load, text, message):
    with pytest.raises(VaurienError) as raised:
        load(text)
    assert message in str(raised.value)


def one(name, ttl=None):
    return Fault(name=name, behavior="noop", ttl=ttl)


def test_a_fault_whose_time_is_over_may_be_added_again_or_removed():
    steps = (
        ScheduleStep(0, add=(one("a", 5.0),)),
        ScheduleStep(5, add=(one("a", 1.0),)),
        ScheduleStep(9, remove=("a",)),
    )
    check_schedule(Schedule(steps), {"p": ()})
    with pytest.raises(OptionError, match="a name that is free at 4 s, such as name=a-2"):
        check_schedule(Schedule((steps[0], ScheduleStep(4, add=(one("a"),)))), {"p": ()})
    with pytest.raises(UnknownName, match="unknown fault 'a' of the step at 6 s; none is known"):
        check_schedule(Schedule((steps[0], ScheduleStep(6, change=(one("a"),)))), {"p": ()})


def test_each_proxy_has_its_own_names():
    step = ScheduleStep(1, proxy="b", add=(one("a"),))
    check_schedule(Schedule((step,)), {"a": (one("a"),), "b": ()})
    with pytest.raises(OptionError):
        check_schedule(Schedule((step,)), {"a": (), "b": (one("a"),)})
