"""rendio.common.ttl_cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from rendio.common.ttl_cache import ttl_cache


class Source:
    def __init__(self, seconds=60.0):
        self.loads = []
        self.read = ttl_cache(lambda: seconds)(self._read)

    def _read(self, key="only"):
        self.loads.append(key)
        return f"{key} {len(self.loads)}"


def test_a_value_is_loaded_once_for_each_argument():
    source = Source()

    assert [source.read("a"), source.read("b"), source.read("a")] == ["a 1", "b 2", "a 1"]


def test_an_expired_value_is_loaded_again():
    source = Source(seconds=-1)

    assert [source.read(), source.read()] == ["only 1", "only 2"]


def test_a_cleared_cache_loads_again():
    source = Source()
    source.read()

    source.read.cache_clear()

    assert source.read() == "only 2"


def test_exceptions_are_not_cached():
    answers = iter([ValueError("first"), "second"])

    @ttl_cache(lambda: 60)
    def read():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError, match="first"):
        read()
    assert read() == "second"


def test_concurrent_threads_share_one_load():
    begun, go_on = Event(), Event()
    loads = []

    @ttl_cache(lambda: 60)
    def read():
        loads.append(1)
        begun.set()
        assert go_on.wait(10)
        return len(loads)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(read)
        assert begun.wait(10)
        second = pool.submit(read)
        go_on.set()

        assert (first.result(10), second.result(10)) == (1, 1)
