"""Chunks side by side: the same sums whichever lane is faster, and the first of several refusals."""

import threading
import time
from types import SimpleNamespace

import pytest

from bayeslmm.sources.lanes import reduced


class Listed:
    def __init__(self):
        self.parts = []

    def merge(self, other):
        self.parts += other.parts


def chunks(count, rows=30_000):
    return (SimpleNamespace(where=f"chunk {k}", number=k, frame=range(rows)) for k in range(count))


def add(total, chunk):
    time.sleep(0.002 * (chunk.number % 3))
    total.parts.append(chunk.number)


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_every_chunk_is_added_once_in_the_order_of_its_lane(lanes):
    seen = []
    total = reduced(chunks(10), Listed, add, seen.append, lanes=lanes)
    assert total.parts == [k for lane in range(lanes) for k in range(lane, 10, lanes)]
    assert sum(seen) == 300_000


def test_small_chunks_stay_in_one_lane_and_no_chunk_is_an_empty_sum():
    assert reduced(chunks(4, rows=10), Listed, add, lambda rows: None, lanes=3).parts == [0, 1, 2, 3]
    assert reduced(chunks(0), Listed, add, lambda rows: None).parts == []


def refusing(*numbers):
    def add_or_refuse(total, chunk):
        add(total, chunk)
        if chunk.number in numbers:
            time.sleep(0.02 * (chunk.number == min(numbers)))
            raise ValueError(chunk.where)

    return add_or_refuse


def test_the_first_refusal_is_said_and_no_thread_stays_behind():
    before = threading.active_count()
    with pytest.raises(ValueError, match="chunk 4"):
        reduced(chunks(20), Listed, refusing(4, 5), lambda rows: None, lanes=2)

    def damaged():
        yield from chunks(5)
        raise OSError("chunk 5")

    with pytest.raises(ValueError, match="chunk 4"):
        reduced(damaged(), Listed, refusing(4), lambda rows: None, lanes=2)
    with pytest.raises(OSError, match="chunk 5"):
        reduced(damaged(), Listed, add, lambda rows: None, lanes=2)
    assert threading.active_count() == before
