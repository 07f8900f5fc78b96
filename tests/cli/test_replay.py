"""A run is written down, and played again."""

from __future__ import annotations

import json

import pytest

from tests.cli.programs import Program
from vaurien.cli import main

FAULTS = [
    "--fault",
    "delay name=some sleep=0.01 scope=exchange probability=0.5",
    "--fault",
    "noop name=half probability=0.5",
    "--log-level",
    "warning",
]


def talk(program, path, connections=3):
    """Be the client of *program*, end it, and read the trace at *path*, but for times; what it said is `said`."""
    for _ in range(connections):
        with program.connect() as client:
            for _ in range(8):
                client.sendall(b"hello")
                assert client.recv(100)
    program.signal()
    status, program.said = program.end()
    assert status == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line.pop("elapsed", None)
    return lines[0], [line for line in lines if line.get("kind") == "hit"], lines[1:]


@pytest.fixture
def written(vaurien, tmp_path):
    path = tmp_path / "first.jsonl"
    return path, talk(vaurien("--seed", "1", "--trace", str(path), *FAULTS), path)


def test_the_same_seed_gives_the_same_trace(vaurien, written, tmp_path):
    again = tmp_path / "again.jsonl"
    assert talk(vaurien("--seed", "1", "--trace", str(again), *FAULTS), again) == written[1]


def test_replay_does_again_what_was_done_whatever_the_seed(vaurien, written, tmp_path):
    path, (_, hits, decisions) = written
    again = tmp_path / "again.jsonl"
    program = vaurien("--seed", "2", "--trace", str(again), *FAULTS, command=("replay", str(path)))
    assert program.greeting.endswith("fault noop name=half probability=0.5, seed 2")
    head, same, decided = talk(program, again)
    assert (head["seed"], same, decided) == ("2", hits, decisions)
    assert hits
    made = sum(line["kind"] == "decision" for line in decisions)
    said = [line for line in program.said.splitlines() if not line.startswith("vaurien: warning: fault 'some'")]
    assert said == [
        f"vaurien: replaying {path}: {made} decisions of 1 proxy",
        f"vaurien: replayed {made} of {made} decisions",
    ]


def test_the_proxies_come_from_the_trace(written):
    path, _ = written
    program = Program("replay", str(path), "--log-level", "warning")
    assert "fault delay name=some probability=0.5 scope=exchange sleep=0.01s" in program.greeting
    program.signal()
    status, said = program.end()
    assert (status, said.splitlines()[-1].split()[:3]) == (0, ["vaurien:", "replayed", "0"])


def test_a_trace_that_is_used_up_is_said_once(vaurien, written, tmp_path):
    program = vaurien("--trace", str(tmp_path / "again.jsonl"), *FAULTS, command=("replay", str(written[0])))
    talk(program, tmp_path / "again.jsonl", connections=5)
    assert program.said.count("is used up") == 1
    assert "is used up: connection 4 of proxy 'vaurien' asks for a decision about fault 'half'" in program.said


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (["noop name=half probability=0.5"], "proxy 'vaurien' had the fault 'some', and has not now"),
        (
            ["delay name=some sleep=0.01 scope=exchange probability=0.5", "noop name=half probability=0.4"],
            "the faults of proxy 'vaurien' are other ones: 'noop name=half probability=0.5' was there, where",
        ),
        (
            ["noop name=half probability=0.5", "delay name=some sleep=0.01 scope=exchange probability=0.5"],
            "the faults of proxy 'vaurien' are other ones: 'delay name=some probability=0.5 scope=exchange sleep=0.01'",
        ),
    ],
)
def test_a_trace_that_does_not_fit_names_the_first_difference(vaurien, written, faults, said):
    words = [word for text in faults for word in ("--fault", text)]
    program = vaurien(*words, "--log-level", "warning", command=("replay", str(written[0])))
    program.signal()
    assert f"warning: {written[0]} does not fit: {said}" in program.end()[1]


def test_a_trace_of_other_proxies(vaurien, written):
    program = vaurien("--name", "web", *FAULTS, command=("replay", str(written[0])))
    program.signal()
    assert "does not fit: its proxy 'vaurien' is not there; there is 'web'" in program.end()[1]


def test_replay_has_the_seed_of_the_trace(vaurien, written):
    program = vaurien(*FAULTS, command=("replay", str(written[0])))
    assert program.greeting.endswith("seed 1")


def test_replay_warns_of_a_trace_that_lost_lines(vaurien, written):
    path, _ = written
    path.write_text(path.read_text() + '{"kind":"lost","lines":2}\n' + '{"kind":"deci')
    program = vaurien(*FAULTS, command=("replay", str(path)))
    program.signal()
    status, said = program.end()
    warning = f"3 lines are missing in {path}: from there on the faults may hit other exchanges than in that run"
    assert (status, said.splitlines()[0]) == (0, f"vaurien: warning: {warning}")


def test_a_trace_that_cannot_be_written_is_told_of(vaurien):
    program = vaurien("--trace", "/dev/full", *FAULTS)
    with program.connect() as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
    program.signal()
    status, said = program.end()
    assert status == 0
    assert "vaurien: trace '/dev/full': No space left on device; lines are lost" in said.splitlines()
    assert "lines were lost (No space left on device)" in said


def test_help(capsys):
    assert main.main(["replay", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: vaurien replay TRACE [OPTIONS]\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("replay", "replay: expected a trace's file first, such as: vaurien replay trace.jsonl"),
        ("replay --seed 1", "replay: expected a trace's file first"),
        ("replay none.jsonl", "file 'none.jsonl' cannot be read: No such file or directory; expected a trace"),
        (
            "replay t.jsonl --trace t.jsonl",
            "option trace: 't.jsonl' (from --trace) is not valid; expected another file",
        ),
        ("replay t.jsonl --sed 1", "unknown option '--sed'; did you mean '--seed'?"),
    ],
)
def test_bad_input_is_one_line(capsys, monkeypatch, tmp_path, line, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text('{"trace": 1, "seed": "1"}\n')
    assert main.main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"vaurien: {message}")
    assert err.count("\n") == 1
