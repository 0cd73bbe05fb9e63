"""An attacker can write to Redis, and plants pickles where Rendio and its libraries read."""

from __future__ import annotations

import ast
import hashlib
import pickle
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from celery import current_app
from django.conf import settings
from django.core.cache import caches
from kombu.exceptions import ContentDisallowed

from rendio.local.data_dir import PROJECT
from tests.adminops.conftest import Staff, StaffAtTheForm, staff_user
from tests.helpers.phone import Phone, assert_refused

APPS = ("rendio", "credits", "accounts", "generation", "billing", "adminops")
# Each can make objects of what it reads, and run code with it.
UNSAFE_DECODERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve"}


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.fixture
def exploded(tmp_path):
    """The file that a bomb writes; a bomb does work."""
    control = tmp_path / "control"
    pickle.loads(pickle.dumps(Bomb(control)))  # noqa: S301
    assert control.exists()
    return tmp_path / "exploded"


@pytest.fixture
def stored():
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        yield connection


@pytest.fixture
def staff(db):
    return Staff(staff_user("root", is_superuser=True))


def test_a_pickle_in_place_of_kept_search_results_is_not_run(staff, stored, exploded):
    digest = hashlib.sha256(f"{staff.user.pk}_user".encode()).hexdigest()
    stored.set(f":1:unfold_search_{digest}", pickle.dumps(Bomb(exploded)))

    found = staff.see("search", s="user")

    assert found.status_code == 200
    assert b"Users" in found.content
    assert not exploded.exists()


def test_a_pickle_under_every_key_that_is_in_use_is_not_run(
    staff, sandbox, stored, exploded, settings
):
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"default_per_user": (100, 3600)}

    def use_everything() -> None:
        phone = Phone().sign_in()
        assert phone.get("get-user-credits").status_code == 200
        assert staff.see("search", s="user").status_code == 200
        StaffAtTheForm(staff.user)  # signs in

    use_everything()
    keys = stored.keys("*")
    assert keys

    for key in keys:
        stored.set(key, pickle.dumps(Bomb(exploded)))
    use_everything()

    assert not exploded.exists()


def test_a_message_that_is_a_pickle_is_not_run(stored, exploded):
    queue = f"attack-{uuid4()}"
    refused: list[Exception] = []
    try:
        with current_app.connection_for_write() as connection:
            connection.SimpleQueue(queue, serializer="pickle").put(Bomb(exploded))

        with current_app.connection_for_read() as connection:
            consumer = current_app.amqp.TaskConsumer(
                connection,
                queues=[connection.SimpleQueue(queue).queue],
                accept=current_app.conf.accept_content,
                callbacks=[lambda body, message: message.ack()],
                on_decode_error=lambda message, error: (refused.append(error), message.ack()),
            )
            with consumer:
                connection.drain_events(timeout=5)
    finally:
        stored.delete(queue, f"_kombu.binding.{queue}")

    assert [type(error) for error in refused] == [ContentDisallowed]
    assert not exploded.exists()


def test_no_cache_in_redis_decodes_more_than_integers():
    in_memory = "django.core.cache.backends.locmem.LocMemCache"
    in_redis = "django.core.cache.backends.redis.RedisCache"
    for name, configured in settings.CACHES.items():
        if configured["BACKEND"] == in_memory:
            continue
        assert configured["BACKEND"] == in_redis, name
        serializer = configured["OPTIONS"]["serializer"]
        assert serializer == "rendio.common.integers.IntegerSerializer", name


@pytest.mark.parametrize("value", [b"\x80\x04K\x01.", b"[1]", b"1.5", b"9" * 21, b""])
def test_the_cache_in_redis_refuses_what_is_no_integer(stored, value):
    stored.set(":1:planted", value)

    with pytest.raises(ValueError, match=r"integer|invalid literal"):
        caches["counters"].get("planted")


def test_celery_and_sessions_are_set_to_json_alone():
    conf = current_app.conf

    assert list(conf.accept_content) == list(conf.result_accept_content) == ["json"]
    serializers = (conf.task_serializer, conf.result_serializer, conf.event_serializer)
    assert serializers == ("json", "json", "json")
    assert conf.result_backend is None
    assert not conf.worker_pool_restarts, "a message could have modules imported"
    assert settings.SESSION_ENGINE == "django.contrib.sessions.backends.db"
    assert settings.SESSION_SERIALIZER == "django.contrib.sessions.serializers.JSONSerializer"


def test_our_code_imports_no_decoder_that_runs_code():
    found = {}
    for app in APPS:
        for path in (PROJECT / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                if unsafe := {name.partition(".")[0] for name in names} & UNSAFE_DECODERS:
                    found[str(path)] = unsafe

    assert found == {}


def test_a_count_that_was_planted_lifts_no_limit(db, sandbox, stored, settings):
    """Guesses at promotion codes are refused where they cannot be counted."""
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"unknown_code_per_ip": (1, 3600)}
    phone = Phone().sign_in()
    assert_refused(phone.post("redeem-code", {"code": "GUESS-1"}), 404, "ERR_4007")
    keys = stored.keys("limit:unknown_code_per_ip:*")
    assert len(keys) == 2, "one of the address, one of the user"

    for key in keys:
        count = stored.get(key)
        stored.set(key, -1_000_000)
        assert_refused(phone.post("redeem-code", {"code": "GUESS-2"}), 503, "ERR_6001")
        stored.set(key, count)
