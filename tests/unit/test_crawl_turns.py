"""Whose turn it is: no host is asked too much at once, and a slow one keeps nobody else waiting."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_assets.crawl.turns import Turns, host_of


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 3), st.integers(1, 8))
def test_every_url_is_handed_out_once_and_no_host_beyond_its_limit(
    hosts: list[int], per_host: int, workers: int
) -> None:
    urls = [f"http://host{host}.test/{number}" for number, host in enumerate(hosts)]
    handed: list[str] = []
    busy: Counter[str] = Counter()

    async def work(turns: Turns) -> None:
        while (url := await turns.take()) is not None:
            handed.append(url)
            busy[host_of(url)] += 1
            assert busy[host_of(url)] <= per_host
            await asyncio.sleep(0)
            busy[host_of(url)] -= 1
            turns.give_back(url)

    async def everybody() -> None:
        turns = Turns(iter(urls), lambda url: per_host)
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work(turns))

    asyncio.run(everybody())
    assert sorted(handed) == sorted(urls)


def test_a_host_that_does_not_answer_keeps_only_itself_waiting() -> None:
    slow = [f"http://slow.test/{number}" for number in range(50)]
    fast = [f"http://fast.test/{number}" for number in range(50)]

    async def take_what_is_free() -> list[str]:
        turns = Turns(iter(slow + fast), lambda url: 2)
        taken = []
        for _ in range(52):
            url = await asyncio.wait_for(turns.take(), 1)
            assert url is not None
            taken.append(url)
            if "fast" in url:
                turns.give_back(url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(turns.take(), 0.05)
        return taken

    hosts = Counter(host_of(url) for url in asyncio.run(take_what_is_free()))
    assert hosts == {"slow.test": 2, "fast.test": 50}


def test_a_host_that_comes_to_bear_less_gets_fewer() -> None:
    room = {"a.test": 3, "b.test": 1}

    async def take_three() -> list[str]:
        turns = Turns(iter([f"http://a.test/{n}" for n in range(9)]), lambda url: room[host_of(url)])
        taken = [await asyncio.wait_for(turns.take(), 1) for _ in range(3)]
        room["a.test"] = 1
        for url in taken[:2]:
            turns.give_back(str(url))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(turns.take(), 0.05)
        turns.give_back(str(taken[2]))
        return [str(await asyncio.wait_for(turns.take(), 1))]

    assert asyncio.run(take_three()) == ["http://a.test/3"]
