from vaurien.framing.cache import COUNT_LIMIT, SIZE_LIMIT, BoundedCache


def test_it_stays_bounded_whatever_is_added() -> None:
    cache: BoundedCache[int] = BoundedCache()
    for number in range(3 * COUNT_LIMIT):
        cache.add(b"%d" % number, number)
        assert cache[b"%d" % number] == number
        assert len(cache) <= COUNT_LIMIT


def test_a_long_message_is_not_kept() -> None:
    cache: BoundedCache[int] = BoundedCache()
    cache.add(bytes(SIZE_LIMIT), 1)
    cache.add(bytes(SIZE_LIMIT + 1), 2)
    assert cache == {bytes(SIZE_LIMIT): 1}
