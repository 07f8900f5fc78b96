"""Lines for a file that takes some bytes and refuses others."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaurien.observers.line_file import LineFile


class Disk:
    """Takes as many bytes of each write as *takes* says, one after the other; 0 is a full disk. Then it takes all."""

    def __init__(self, takes):
        self._takes = list(takes)
        self.data = b""
        self.closed = False

    def write(self, data):
        count = self._takes.pop(0) if self._takes else len(data)
        if count == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.data += data[:count]
        return min(count, len(data))

    def close(self):
        self.closed = True


def lines(disk):
    return LineFile(disk, "log", lambda count: f"gap {count}")


def test_lines_that_are_lost_are_told_in_their_place(capsys):
    disk = Disk([4, 0, 0])
    file = lines(disk)
    for line in ("one", "two", "three", "four"):
        file.write(line)
    assert disk.data == b"one\ngap 2\nfour\n"
    file.close()
    assert (disk.closed, file.lost) == (True, 2)
    assert capsys.readouterr().err == (
        "vaurien: log: No space left on device; lines are lost\n"
        "vaurien: log: 2 lines were lost (No space left on device)\n"
    )


def test_a_line_that_fits_in_part_is_finished_later():
    disk = Disk([2, 0, 0])
    file = lines(disk)
    for line in ("first", "lost", "last"):
        file.write(line)
    assert disk.data == b"first\ngap 1\nlast\n"
    assert file.lost == 1


def test_lines_that_are_missing_at_the_end_are_told_when_it_is_closed():
    disk = Disk([0])
    file = lines(disk)
    file.write("lost")
    file.close()
    file.close()
    assert disk.data == b"gap 1\n"


def test_nothing_is_written_once_it_is_closed(capsys):
    disk = Disk([])
    file = lines(disk)
    file.close()
    file.write("late")
    assert (disk.data, file.lost) == (b"", 1)
    assert "it is closed; lines are lost" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 2])
def test_the_end_of_a_program_says_how_many(capsys, count):
    file = lines(Disk([0] * (count + 1)))
    for _ in range(count):
        file.write("lost")
    file.close()
    words = "1 line was lost" if count == 1 else "2 lines were lost"
    assert capsys.readouterr().err.splitlines()[-1] == f"vaurien: log: {words} (No space left on device)"


@given(st.lists(st.integers(0, 12), max_size=40), st.integers(1, 20))
def test_each_line_is_whole_in_its_order_or_counted(takes, count):
    """Whatever the disk does: lines and gaps add up, and nothing is torn once it takes bytes again."""
    disk = Disk(takes)
    file = lines(disk)
    for number in range(count):
        file.write(f"line {number}")
    disk.write = lambda data: Disk.write(recovered, data)
    recovered = Disk([])
    recovered.data = disk.data
    file.write("end")
    number, missing = 0, 0
    for text in recovered.data.decode().splitlines():
        kind, _, value = text.partition(" ")
        if kind == "gap":
            number += int(value)
            missing += int(value)
        elif kind == "line":
            assert int(value) == number
            number += 1
    assert (number, missing) == (count, file.lost)
    assert recovered.data.endswith(b"\nend\n") or recovered.data == b"end\n"
    file.close()
