"""PostgreSQL and Valkey hang (SIGSTOP) or restart under the running service."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

from tests.helpers import own_servers
from tests.helpers.budget import large
from tests.helpers.job_driver import WebPhone
from tests.helpers.wait import wait_for

# More than the request threads of both web processes.
AT_ONCE = 24


@pytest.fixture(scope="module")
def service(tmp_path_factory, django_db_setup):
    """Web and worker on a PostgreSQL and a Valkey of their own."""
    with own_servers.serving(
        tmp_path_factory.mktemp("outages"),
        *["web", "worker"],
        # Too high to be reached, but still counted in Redis.
        RATE_LIMIT_DEVICE_CHECK_PER_HOUR=1_000_000,
        RATE_LIMIT_FIRST_CHECK_PER_HOUR=1_000_000,
        RATE_LIMIT_UNPROVEN_PER_HOUR=1_000_000,
        DB_HANG_SECONDS=1,
    ) as service:
        yield service


@pytest.fixture
def phone(service):
    phone = WebPhone(service.url)
    wait_for(lambda: are_well(service))
    phone.sign_in()
    return phone


def is_well(service):
    return ask(service, "readyz").json() == {"status": "ok", "database": "ok", "redis": "ok"}


def are_well(service):
    """Both web processes: each notices by itself that a server answers again."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return all(pool.map(lambda _: is_well(service), range(AT_ONCE)))


def ask(service, page):
    return requests.get(f"{service.url}/{page}", timeout=10)


@contextmanager
def hanging(server):
    server.child.pause()
    try:
        yield
    finally:
        server.child.resume()


@contextmanager
def restarting(server):
    server.stop()
    try:
        yield
    finally:
        server.launch()
        wait_for(server.answers)


def profiles(service, phone):
    """What so many calls at once are answered; a call without an answer in ten seconds fails."""

    def call(_):
        return requests.get(
            f"{service.url}/v1/get-user-profile", headers=phone._headers(), timeout=10
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(call, range(AT_ONCE)))


def statuses(answers):
    return {answer.status_code for answer in answers}


def device_check(service):
    phone = WebPhone(service.url)
    return phone.post("device-check", phone.check_body)


def test_postgresql_hangs_and_calls_are_refused_and_health_pages_answer(service, phone):
    with hanging(service.database):
        answers = profiles(service, phone)
        alive, ready, whole = (ask(service, page) for page in ("healthz", "readyz", "statusz"))

    assert {(one.status_code, one.json()["error"]["code"]) for one in answers} == {
        (503, "ERR_6001")
    }
    assert alive.status_code == 200
    assert (ready.status_code, ready.json()["database"]) == (503, "unreachable")
    assert "the database is unreachable" in whole.json()["problems"]


def test_postgresql_hangs_and_all_threads_serve_again_after_it(service, phone):
    with hanging(service.database):
        assert statuses(profiles(service, phone)) == {503}

    wait_for(lambda: statuses(profiles(service, phone)) == {200})


def test_postgresql_restarts_and_no_call_fails_after_it(service, phone):
    for _ in range(3):  # every thread has a connection
        assert statuses(profiles(service, phone)) == {200}

    with restarting(service.database):
        pass

    for _ in range(3):
        assert statuses(profiles(service, phone)) == {200}


@large
def test_valkey_hangs_and_only_what_must_be_counted_is_refused(service, phone):
    with hanging(service.valkey):
        answers = profiles(service, phone)
        checked = device_check(service)
        # They keep an answer for a second, and the one before it was well.
        wait_for(lambda: ask(service, "readyz").json()["redis"] == "unreachable")
        alive, ready, whole = (ask(service, page) for page in ("healthz", "readyz", "statusz"))

    assert statuses(answers) == {200}
    assert (checked.status_code, checked.headers["Retry-After"]) == (503, "1")
    assert alive.status_code == 200
    assert (ready.status_code, ready.json()["redis"]) == (200, "unreachable")
    assert "Redis is unreachable" in whole.json()["problems"]


@large
def test_valkey_restarts_and_no_device_check_fails_after_it(service, phone):
    for _ in range(AT_ONCE):  # both processes have connections
        assert device_check(service).status_code == 200

    with restarting(service.valkey):
        # Both processes know that it is down.
        assert statuses(device_check(service) for _ in range(AT_ONCE)) == {503}

    assert statuses(device_check(service) for _ in range(AT_ONCE)) == {200}


@large
def test_a_worker_goes_on_after_postgresql_hung(service, phone):
    phone.order()  # so that the worker is at work when it hangs
    with hanging(service.database):
        assert statuses(profiles(service, phone)) == {503}
    wait_for(lambda: statuses(profiles(service, phone)) == {200})

    [job_id] = phone.order()

    wait_for(lambda: phone.status(job_id)["status"] == "completed")
