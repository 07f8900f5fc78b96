"""Blocks are used again, and few are kept that nothing is in."""

from __future__ import annotations

import asyncio

from vaurien.engine.relay.blocks import BLOCK, ENOUGH, KEPT, KEPT_AT_REST, BlockPool, BlockQueue, pool_of


def test_the_block_that_was_given_back_last_is_used_first() -> None:
    pool = BlockPool()
    first, second = pool.take(), pool.take()
    assert (len(first), pool.used, pool.kept) == (BLOCK, 2, 0)
    pool.give_back(first)
    assert pool.take() is first
    pool.give_back(second)
    pool.give_back(first)
    assert (pool.used, pool.kept) == (0, 2)
    assert pool.take() is first


def test_few_blocks_are_kept_and_fewer_while_none_is_used() -> None:
    pool = BlockPool()
    blocks = [pool.take() for _ in range(KEPT + 5)]
    last = blocks.pop()
    for block in blocks:
        pool.give_back(block)
    assert (pool.used, pool.kept) == (1, KEPT)
    pool.give_back(last)
    assert (pool.used, pool.kept) == (0, KEPT_AT_REST)


def test_all_links_of_a_loop_share_a_pool() -> None:
    one, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        assert pool_of(one) is pool_of(one)
        assert pool_of(one) is not pool_of(other)
    finally:
        one.close()
        other.close()


def put(queue: BlockQueue, data: bytes) -> memoryview:
    """*data*, read where the queue has space for it."""
    assert queue.space is not None
    queue.space[: len(data)] = data
    return queue.keep(len(data))


def test_chunks_are_side_by_side_in_a_block_until_too_little_is_left() -> None:
    pool = BlockPool()
    queue = BlockQueue(pool)
    assert queue.space is None
    queue.open()
    queue.open()  # it is
    one, two = put(queue, b"1" * 10), put(queue, b"2" * (BLOCK - ENOUGH - 10))
    assert one.obj is two.obj
    assert queue.space is not None
    assert (len(queue.space), pool.used) == (ENOUGH, 1)
    three = put(queue, b"3")
    assert (len(queue.space), pool.used) == (BLOCK, 2)
    assert (one, two[:1], three) == (b"1" * 10, b"2", b"3")
    for chunk in (one, two):
        queue.free(chunk)
    assert pool.used == 2
    queue.free(three)
    assert (pool.used, pool.kept) == (1, 1)


def test_a_block_that_is_read_into_stays_although_all_of_it_has_gone() -> None:
    pool = BlockPool()
    queue = BlockQueue(pool)
    queue.open()
    queue.free(put(queue, b"x"))
    assert pool.used == 1
    assert queue.space is not None
    queue.close()
    assert (queue.space, pool.used) == (None, 0)


def test_a_closed_queue_gives_its_last_block_back_with_the_last_chunk() -> None:
    pool = BlockPool()
    queue = BlockQueue(pool)
    queue.open()
    one, two = put(queue, b"1"), put(queue, b"2")
    queue.close()
    queue.close()  # it is
    queue.free(one)
    assert (queue.space, pool.used) == (None, 1)
    queue.free(two)
    assert pool.used == 0


def test_chunks_of_another_place_free_nothing() -> None:
    pool = BlockPool()
    queue = BlockQueue(pool)
    queue.free(memoryview(b"x"))
    queue.open()
    one = put(queue, b"1")
    queue.free(memoryview(b"x"))
    queue.close()
    assert pool.used == 1
    queue.clear()
    queue.free(one)  # what was sent when the connection failed
    assert pool.used == 0


def test_nothing_is_used_by_a_queue_that_is_cleared() -> None:
    pool = BlockPool()
    queue = BlockQueue(pool)
    queue.open()
    for _ in range(3):
        put(queue, b"x" * (BLOCK - 1))
    assert pool.used == 4
    queue.clear()
    assert (queue.space, pool.used, pool.kept) == (None, 0, KEPT_AT_REST)
