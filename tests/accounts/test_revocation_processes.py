"""Two web servers that know of each other through PostgreSQL alone: who is out, is out on both."""

from contextlib import ExitStack
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from accounts import services
from rendio.local.data_dir import DataDir
from rendio.local.servers import Valkey
from rendio.local.stack import Stack
from tests.helpers.budget import large
from tests.helpers.job_driver import WebPhone, serves, stack_environment
from tests.helpers.wait import wait_for

# test_revocations.py has the same for two in this process.
pytestmark = [pytest.mark.usefixtures("committed", "sandbox"), large]

# Each server has two processes of its own: so many answers in a row come from both.
IN_A_ROW = 8


@pytest.fixture(scope="module")
def servers(committed_database, tmp_path_factory):
    """The URLs of two gunicorns, and the Valkey that they count requests in."""
    with ExitStack() as started:
        homes = [DataDir(tmp_path_factory.mktemp(name)) for name in ("here", "there")]
        for data_dir in homes:
            data_dir.acquire()
            started.callback(data_dir.release)
        valkey = Valkey(homes[0], durable=False)
        started.callback(valkey.stop)
        valkey.start()
        environment = stack_environment(
            committed_database,
            REDIS_URL=valkey.url,
            REVOCATION_REFRESH_SECONDS=1,
            LOG_LEVEL="WARNING",
        )
        stacks = [
            started.enter_context(Stack(data_dir=data_dir, env=environment)) for data_dir in homes
        ]
        for stack in stacks:
            stack.start("web")
        for stack in stacks:
            wait_for(lambda stack=stack: serves(stack.url))
        yield *(stack.url for stack in stacks), valkey


@pytest.fixture(params=["with Redis", "without Redis"])
def redis(request, servers):
    """Called once the phone is in: Redis stays, or is killed until the test ends."""
    *_, valkey = servers
    yield (lambda: None) if request.param == "with Redis" else valkey.child.kill
    if not valkey.running:
        valkey.launch()
        assert valkey.wait()


@pytest.fixture
def phone(servers):
    """Signed in at the first server, and known at both."""
    here, there, _ = servers
    phone = WebPhone(here)
    phone.sign_in()
    assert answers_of(phone, here) == answers_of(phone, there) == {200}
    return phone


def answers_of(phone, url):
    other = WebPhone(url)
    other.session = phone.session
    return {other.get("get-user-profile").status_code for _ in range(IN_A_ROW)}


def assert_out(phone, url):
    wait_for(lambda: answers_of(phone, url) == {401})


def ban(user_id):
    with transaction.atomic():
        services.ban_user(
            user_id=user_id, reason="fraud", acting_user_id=uuid4(), now=timezone.now()
        )


def test_a_logout_at_one_server_ends_the_access_token_at_the_other(servers, phone, redis):
    here, there, _ = servers
    redis()

    assert phone.post("auth/logout", phone.session).status_code == 200

    assert_out(phone, there)
    assert_out(phone, here)


def test_a_ban_ends_the_access_token_at_both(servers, phone, redis):
    here, there, _ = servers
    redis()

    ban(phone.user_id)

    assert_out(phone, there)
    assert_out(phone, here)


def test_another_phone_stays_in(servers, phone):
    here, there, _ = servers
    other = WebPhone(here)
    other.sign_in()
    ban(phone.user_id)
    assert_out(phone, there)

    assert answers_of(other, here) == answers_of(other, there) == {200}
