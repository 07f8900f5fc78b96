"""A run is written down, and played again."""

from __future__ import annotations

import json

import pytest

from vaurien.cli import main

FAULTS = [
    "--fault",
    "delay name=some sleep=0 scope=exchange probability=0.5",
    "--fault",
    "noop name=half probability=0.5",
    "--log-level",
    "warning",
]


def talk(program, path):
    """Be the client of *program*, end it, and read the trace at *path*, but for times."""
    for _ in range(3):
        with program.connect() as client:
            for _ in range(8):
                client.sendall(b"hello")
                assert client.recv(100)
    program.signal()
    status, said = program.end()
    assert status == 0
    assert said == "" or said.startswith(
        "vaurien: waiting up to 10 s for 1 open connection"
    )  # its end may be on the way
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
    assert program.greeting.endswith(", seed 2")
    head, same, decided = talk(program, again)
    assert (head["seed"], same, decided) == ("2", hits, decisions)
    assert hits


def test_replay_has_the_seed_of_the_trace(vaurien, written):
    program = vaurien(*FAULTS, command=("replay", str(written[0])))
    assert program.greeting.endswith("seed 1")


def test_replay_warns_of_a_trace_that_lost_lines(vaurien, written):
    path, _ = written
    path.write_text(path.read_text() + '{"kind":"lost","lines":2}\n' + '{"kind":"deci')
    program = vaurien(*FAULTS, command=("replay", str(path)))
    program.signal()
    assert program.end() == (
        0,
        f"vaurien: 3 lines are missing in {path}: from there on the faults may hit other exchanges than in that run\n",
    )


def test_a_trace_that_cannot_be_written_is_told_of(vaurien):
    program = vaurien("--trace", "/dev/full", *FAULTS)
    with program.connect() as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
    program.signal()
    status, said = program.end()
    assert (status, said.splitlines()[0]) == (
        0,
        "vaurien: trace '/dev/full': No space left on device; lines are lost",
    )
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
