"""The limit on requests in flight gives way to trouble and comes back; the breaker spends one request at a time."""

import asyncio
import time

import pytest
from yarl import URL

from t2i_assets.crawl.config import FetchConfig
from t2i_assets.crawl.http.breaker import CircuitBreaker, CircuitOpenError
from t2i_assets.crawl.http.hosts import Host, Hosts
from t2i_assets.crawl.http.limit import AdaptiveLimit
from t2i_assets.crawl.status import Status


async def enter_many(limit: AdaptiveLimit, count: int) -> tuple[list[int], list[asyncio.Task[None]], asyncio.Event]:
    """Let ``count`` tasks enter; return who is in, the tasks, and the event that lets all leave."""
    inside: list[int] = []
    leave = asyncio.Event()

    async def stay(number: int) -> None:
        async with limit:
            inside.append(number)
            await leave.wait()

    tasks = [asyncio.create_task(stay(number)) for number in range(count)]
    await asyncio.sleep(0.01)
    return inside, tasks, leave


def test_no_more_than_the_size_are_in_and_the_first_come_first() -> None:
    async def work() -> None:
        limit = AdaptiveLimit(8)
        limit.shrink(0.25)
        inside, tasks, leave = await enter_many(limit, 6)
        assert inside == [0, 1]
        limit.grow(1.0)
        await asyncio.sleep(0.01)
        assert inside == [0, 1, 2]
        leave.set()
        await asyncio.gather(*tasks)
        assert inside == [0, 1, 2, 3, 4, 5]
        assert limit.idle

    asyncio.run(work())


def test_who_is_cancelled_keeps_no_place() -> None:
    async def work() -> None:
        limit = AdaptiveLimit(1)
        inside, tasks, leave = await enter_many(limit, 3)
        tasks[1].cancel()
        tasks[0].cancel()  # its place is given to the next while that is being cancelled, too
        await asyncio.sleep(0.01)
        assert inside == [0, 2]
        leave.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limit.idle

    asyncio.run(work())


def test_size_stays_within_its_bounds() -> None:
    limit = AdaptiveLimit(8, 2)
    for _ in range(10):
        limit.shrink(0.5)
    assert limit.size == 2
    for _ in range(10):
        limit.grow(1.0)
    assert limit.size == 8
    limit.cap(1)
    limit.grow(5)
    assert limit.size == 1


def test_a_burst_of_trouble_halves_a_host_once_and_success_mends_it() -> None:
    host = Host(FetchConfig(per_host_concurrency=8))
    started = time.monotonic()
    for _ in range(8):
        host.learn(Status.TIMEOUT, False, started, 1.0)
    assert host.slots.size == 4
    host.learn(Status.HTTP_5XX, True, time.monotonic(), 1.0)
    assert host.slots.size == 2
    for _ in range(60):
        host.learn(Status.OK, False, time.monotonic(), 1.0)
    assert host.slots.size == 8


def test_answers_that_come_slower_and_slower_are_asked_for_less() -> None:
    host = Host(FetchConfig(per_host_concurrency=8))
    for _ in range(50):
        host.learn(Status.OK, False, time.monotonic(), 0.1)
    assert host.slots.size == 8
    for _ in range(20):
        host.learn(Status.OK, False, time.monotonic(), 2.0)
    assert host.slots.size < 8


def test_dead_hosts_slow_nobody_but_a_dead_network_does() -> None:
    hosts = Hosts(FetchConfig(concurrency=64, per_host_concurrency=8))
    for number in range(1000):
        hosts.learn(Status.TIMEOUT if number % 3 == 0 else Status.OK)
    assert hosts.slots.size == 64
    for _ in range(1000):
        hosts.learn(Status.TIMEOUT)
    assert hosts.slots.size == 8


def test_hosts_are_forgotten_unless_something_is_known_of_them() -> None:
    hosts = Hosts(FetchConfig())
    slow = hosts.of(URL("http://slow.test/"))
    slow.set_delay(5)
    plain = hosts.of(URL("http://plain.test/"))
    for number in range(20_000):
        hosts.of(URL(f"http://h{number}.test/"))
    assert hosts.of(URL("http://slow.test/x")) is slow
    assert hosts.of(URL("http://plain.test/x")) is not plain


def test_http_and_https_of_one_name_are_two_hosts() -> None:
    hosts = Hosts(FetchConfig())
    assert hosts.of(URL("http://a.test/")) is not hosts.of(URL("https://a.test/"))
    assert hosts.of(URL("http://a.test/x")) is hosts.of(URL("http://a.test:80/y"))


# Circuits


async def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.leave(await breaker.enter(), Status.TIMEOUT)


def test_one_request_probes_while_the_others_wait_for_it() -> None:
    async def work() -> None:
        breaker = CircuitBreaker(3, 0.1, 60)
        await fail(breaker, 3)
        waiting = [asyncio.create_task(breaker.enter()) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        await asyncio.sleep(0.1)
        (probe,) = [task for task in waiting if task.done()]
        assert probe.result() is True
        breaker.leave(True, Status.HTTP_4XX)
        assert sorted(await asyncio.gather(*waiting)) == [False] * 4 + [True]
        assert breaker.closed()

    asyncio.run(work())


def test_a_probe_in_vain_answers_for_all_who_waited() -> None:
    async def work() -> list[bool | BaseException]:
        breaker = CircuitBreaker(3, 0.05, 60)
        await fail(breaker, 3)
        waiting = [asyncio.create_task(breaker.enter()) for _ in range(5)]
        await asyncio.sleep(0.1)
        breaker.leave(True, Status.REFUSED)
        return await asyncio.gather(*waiting, return_exceptions=True)

    found = asyncio.run(work())
    assert [str(error) for error in found if isinstance(error, CircuitOpenError)] == [
        "not asked: the host failed 4 times in a row (refused 1, timeout 3)"
    ] * 4


def test_a_probe_that_is_given_up_leaves_the_place_to_another() -> None:
    async def work() -> None:
        breaker = CircuitBreaker(1, 0.01, 60)
        await fail(breaker, 1)
        assert await breaker.enter()
        breaker.leave(True, None)
        assert await asyncio.wait_for(breaker.enter(), 1)

    asyncio.run(work())


def test_what_speaks_of_the_url_alone_opens_nothing() -> None:
    async def work() -> None:
        breaker = CircuitBreaker(3, 60, 60)
        for status in (Status.TIMEOUT, Status.TIMEOUT, Status.HTTP_4XX, Status.TIMEOUT, Status.TIMEOUT, Status.OK):
            breaker.leave(await breaker.enter(), status)
        for status in (Status.BAD_RESPONSE, Status.TOO_LARGE, Status.RATE_LIMITED, Status.TRUNCATED) * 3:
            breaker.leave(await breaker.enter(), status)
        assert await asyncio.wait_for(breaker.enter(), 1) is False

    asyncio.run(work())


@pytest.mark.parametrize(("probes", "waits"), [(0, True), (2, True), (3, False)])
def test_nobody_waits_for_a_fourth_probe(probes: int, waits: bool) -> None:
    async def work() -> None:
        now = [0.0]
        breaker = CircuitBreaker(1, 10, 100, lambda: now[0])
        await fail(breaker, 1)
        for _ in range(probes):
            now[0] += 1000
            await fail(breaker, 1)
        entering = asyncio.wait_for(breaker.enter(), 0.05)
        with pytest.raises(TimeoutError if waits else CircuitOpenError):
            await entering

    asyncio.run(work())
