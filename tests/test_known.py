from vaurien.known import COUNT_LIMIT, SIZE_LIMIT, Known


def test_it_stays_bounded_whatever_is_added() -> None:
    known: Known[int] = Known()
    for number in range(3 * COUNT_LIMIT):
        known.add(b"%d" % number, number)
        assert known[b"%d" % number] == number
        assert len(known) <= COUNT_LIMIT


def test_a_long_message_is_not_kept() -> None:
    known: Known[int] = Known()
    known.add(bytes(SIZE_LIMIT), 1)
    known.add(bytes(SIZE_LIMIT + 1), 2)
    assert known == {bytes(SIZE_LIMIT): 1}
