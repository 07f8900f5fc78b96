"""The benchmark in its shortest form: what it says has the right shape. How fast anything is, is not tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.__main__ import main
from benchmarks.contestants import EVERYBODY, Contestant, Kind, reached_by
from benchmarks.errors import BenchmarkError
from benchmarks.measures import CPU_REQUEST, RATE, Effort
from benchmarks.processes import listening, started
from benchmarks.report import Report
from benchmarks.rounds import run
from benchmarks.rows import ROWS, chosen
from benchmarks.rows.row import Row, Target, of
from tests.room import room
from tests.servers import require

ROOT = Path(__file__).parents[2]
NAMES = [str(contestant) for contestant in EVERYBODY]


def fixed(**figures):
    """A measurement that takes no time: *figures* of each contestant, by its kind."""
    return lambda _backends, contestant, _effort: {RATE: figures[contestant.kind.name]}


def row(*targets, **figures):
    contestants = [Contestant(kind) for kind in Kind if kind.name in figures]
    return Row("made-up", "a made-up load", "asked", contestants, fixed(**figures), targets)


def results(*rows, rounds=3):
    said = []
    return run(rows, None, rounds, Effort(1, 1, 1, 1), said.append), said


def test_each_round_begins_with_another_contestant():
    _, said = results(row(NONE=1.0, HAPROXY=2.0, UVLOOP=3.0))
    order = [line.split("made-up")[1].split()[0] for line in said]
    assert order == ["no", "HAProxy", "uvloop", "HAProxy", "uvloop", "no", "uvloop", "no", "HAProxy"]


def test_a_target_is_the_median_of_the_figures_of_single_rounds():
    drifting = iter([10.0, 20.0, 25.0, 50.0, 30.0, 90.0])  # 2, 0.5, 3
    measure = lambda *_: {RATE: next(drifting)}  # noqa: E731
    by_kind = lambda one: one[str(Contestant(Kind.UVLOOP))][RATE] / one[str(Contestant(Kind.OWN))][RATE]  # noqa: E731
    contestants = [Contestant(Kind.OWN), Contestant(Kind.UVLOOP)]
    made_up = Row(
        "made-up",
        "a made-up load",
        "asked",
        contestants,
        measure,
        [Target(Kind.UVLOOP, "against asyncio", by_kind, 2.0)],
    )
    [result], _ = results(made_up)
    [target] = result.targets
    # The second round begins with uvloop: the first number there is uvloop's.
    assert (target.low, target.median, target.high) == (0.5, 2.0, 3.0)
    assert target.met
    assert target.asked == "≥ 2"


@pytest.mark.parametrize(
    ("value", "at_least", "met"), [(0.9, True, True), (0.89, True, False), (0.9, False, True), (0.91, False, False)]
)
def test_a_target_is_met_from_its_limit_on(value, at_least, met):
    assert Target(Kind.UVLOOP, "made up", lambda _: value, 0.9, at_least).met(value) is met


def test_a_row_that_cannot_be_measured_says_why():
    absent = Row("made-up", "a made-up load", "asked", (), fixed(), missing=lambda: "the moon is not full")
    [result], said = results(absent)
    assert result.left_out == "the moon is not full"
    assert not said
    assert result.left_out in Report("", "", {}, 0.0, 1, [result]).tables()


@pytest.mark.parametrize("error", [BenchmarkError("no figure"), ConnectionResetError("no figure")])
def test_a_row_that_fails_is_left_out_and_the_others_go_on(error):
    def fail(*_):
        raise error

    failing = Row("failing", "a load that fails", "asked", [Contestant(Kind.NONE)], fail)
    [failed, other], said = results(failing, row(NONE=1.0))
    assert failed.left_out == "round 1: no figure"
    assert len(other.rounds) == 3
    assert said[0] == "failing: round 1: no figure"


def test_what_was_measured_before_an_interruption_is_kept():
    rates = iter([1.0, 2.0])

    def measure(*_):
        for rate in rates:
            return {RATE: rate}
        raise KeyboardInterrupt

    interrupted = Row("interrupted", "a load", "asked", [Contestant(Kind.NONE)], measure)
    [kept, never], said = results(interrupted, msgspec.structs.replace(row(NONE=1.0), measure=measure))
    assert kept.medians == {"no proxy": {RATE: 1.0}}
    assert never.medians == {"no proxy": {RATE: 2.0}}
    assert said[-1] == "interrupted"


def test_a_row_may_take_part_in_few_rounds():
    once = msgspec.structs.replace(row(NONE=1.0), rounds=1)
    [result], _ = results(once)
    assert len(result.rounds) == 1


def test_what_must_always_hold_is_not_met_by_a_median():
    drifting = iter([0.0, 1.0, 0.0])
    made_up = Row("made-up", "a made-up load", "asked", [Contestant(Kind.NONE)], lambda *_: {RATE: next(drifting)})
    lost = Target(Kind.NONE, "lost", of(Contestant(Kind.NONE), RATE), 0.0, False, always=True)
    [result], _ = results(msgspec.structs.replace(made_up, targets=[lost]))
    [target] = result.targets
    assert (target.median, target.met) == (0.0, False)


def test_rows_are_chosen_by_key_and_by_group():
    assert chosen(["all"]) == list(ROWS)
    assert [one.key for one in chosen(["memory", "redis"])] == ["redis", "memory"]
    assert {one.group for one in chosen(["growth"])} == {"growth"}


def test_an_unknown_row_is_an_error_that_names_the_known(capsys):
    assert main(["--rows", "redis,speed"]) == 1
    assert "row 'speed' is not known; known are all, asked," in capsys.readouterr().err


def test_the_keys_of_rows_are_unique():
    keys = [one.key for one in ROWS]
    assert len(keys) == len(set(keys))


def test_a_program_that_ends_at_once_is_an_error_with_its_words():
    command = lambda _port, _folder: [sys.executable, "-c", "print('no licence')"]  # noqa: E731
    with pytest.raises(BenchmarkError, match="no licence"), started(command):
        pass


def test_a_proxy_ends_with_its_block_even_when_that_raises(redis_server):
    with pytest.raises(ZeroDivisionError), reached_by(Contestant(Kind.OWN), redis_server) as reached:
        assert listening(reached.port)
        raise ZeroDivisionError
    assert not listening(reached.port)
    assert not Path(f"/proc/{reached.pid}").exists()


@pytest.mark.server
@pytest.mark.slow
def test_a_short_round_with_real_programs_has_the_shape_of_a_result(tmp_path):
    pytest.importorskip("uvloop")
    for program in ("redis-server", "redis-benchmark", "nginx", "iperf3", "nghttpd", "nghttpx", "haproxy", "wrk"):
        require(program)
    room(17_000)  # HAProxy's, for so many connections as its settings allow
    path = tmp_path / "result.json"
    words = ["-m", "benchmarks", "--quick", "--rounds", "1", "--rows", "redis", "--json", str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    report = Report.parse(path.read_bytes())
    assert {"cpu", "cores", "kernel", "python", "vaurien", "haproxy"} <= report.machine.keys()
    [result] = report.results
    assert result.left_out is None
    assert list(result.medians) == NAMES
    assert all(figures[RATE] > 0 for figures in result.medians.values())
    assert [name for name, figures in result.medians.items() if CPU_REQUEST in figures] == NAMES[1:]
    assert [len(result.rounds), len(result.targets)] == [1, 4]
    assert done.stdout == report.tables() + "\n"
    assert done.stderr.count("round 1 ") == len(NAMES)
