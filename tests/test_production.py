"""What production refuses to start with: a real start of manage.py in that environment."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers import fork_server

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = "".join(
    (ROOT / "rendio" / name).read_text() for name in ("config/environment.py", "settings.py")
)
# What starts the processes reads some of its own.
ELSEWHERE = "".join(
    path.read_text()
    for pattern in ("Procfile", "docker-compose.yml", "flowerconfig.py", "rendio/**/*.py")
    for path in ROOT.glob(pattern)
)

SOUND = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "a key of many different letters, as Django asks for them",
    "SESSION_SIGNING_KEYS": f"k1:{'s' * 40}",
    "DATABASE_URL": "postgresql://rendio:x@db.internal:5432/rendio",
    "REDIS_URL": "redis://redis.internal:6379/0",
    "ALLOWED_HOSTS": "api.example.com",
    "PUBLIC_URL": "https://api.example.com",
    "TRUSTED_PROXIES": "1",
    "FAL_KEY": "id:secret",
    "FAL_USER_ID": "us",
    "APPLE_TEAM_ID": "TEAM123456",
    "DEVICECHECK_KEY_ID": "KEY1234567",
    "DEVICECHECK_PRIVATE_KEY": "-----BEGIN PRIVATE KEY-----",
    "APPLE_CLIENT_IDS": "com.example.app",
    "SIGN_IN_KEY_ID": "KEY7654321",
    "SIGN_IN_PRIVATE_KEY": "-----BEGIN PRIVATE KEY-----",
    "INSTALLATION_KEYS": f"k1:{'i' * 40}",
    "APPLE_TOKEN_KEYS": "t" * 40,
    "APPSTORE_APP_ID": "1234567890",
    "APPSTORE_ISSUER_ID": "57246542-96fe-1a63-e053-0824d011072a",
    "APPSTORE_KEY_ID": "KEY2222222",
    "APPSTORE_PRIVATE_KEY": "-----BEGIN PRIVATE KEY-----",
}


def start(**changes: str | None) -> subprocess.CompletedProcess[str]:
    return manage("check", **changes)


def manage(*arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    variables = {**SOUND, **changes}
    given = {name: value for name, value in variables.items() if value is not None}
    return fork_server.manage(*arguments, environment=given)


def test_production_starts_with_everything_it_needs():
    started = start()

    assert started.returncode == 0, started.stderr


def test_production_starts_with_the_playground_where_that_is_said():
    started = start(PLAYGROUND="true", PLAYGROUND_IN_PRODUCTION="true")

    assert started.returncode == 0, started.stderr


# Each is wrong by itself, and the message begins with the variable's name.
WRONG = [
    *[(name, None) for name in SOUND if name not in {"ENVIRONMENT", "PUBLIC_URL"}],
    ("PUBLIC_URL", "http://api.example.com"),
    ("PUBLIC_URL", "api.example.com"),
    ("TRUSTED_PROXIES", "0"),
    ("ALLOWED_HOSTS", "www.example.com"),  # PUBLIC_URL has another
    ("ALLOWED_HOSTS", "https://api.example.com"),
    ("CSRF_TRUSTED_ORIGINS", "api.example.com"),
    ("FORWARDED_HEADER", "X-Real-IP"),
    ("LOG_LEVEL", "LOUD"),
    ("STAFF_LOGIN_RATE", "ten"),
    ("REQUIRE_APP_ATTEST", "ture"),
    ("SECRET_KEY", "short"),
    ("DB_POOLED", "perhaps"),
    ("REDIS_URL", "rediss://:x@redis.internal:6379/0?ssl_cert_reqs=perhaps"),
    ("CELERY_BROKER_URL", "redis://elsewhere.internal:6379/0"),
    ("DATABASE_URL", "postgresql://rendio:x@db.internal/rendio?sslmode=nonsense"),
    ("DEBUG", "true"),
    ("ALLOWED_HOSTS", "*"),
    ("REQUIRE_SECOND_FACTOR", "false"),
    ("PLAYGROUND", "true"),
    ("SANDBOX_URL", "http://127.0.0.1:9000"),
    ("FAL_URL", "http://127.0.0.1:9000/fal/queue"),
    ("DEVICECHECK_URL", "http://127.0.0.1:9000/apple/devicecheck/v1"),
    ("APPLE_KEYS_URL", "http://127.0.0.1:9000/apple/auth/keys"),
    ("APPLE_TOKEN_URL", "http://127.0.0.1:9000/apple/auth/token"),
    ("APPLE_REVOKE_URL", "http://127.0.0.1:9000/apple/auth/revoke"),
    ("APPLE_ISSUER", "http://127.0.0.1:9000"),
    ("INSTALLATION_KEYS", "k1:short"),
    ("INSTALLATION_SECRET_GRACE_UNTIL", "tomorrow"),
    ("INSTALLATION_SECRET_GRACE_UNTIL", "2026-01-31T12:00:00"),
    ("APPLE_TOKEN_KEYS", "short"),
    ("APPSTORE_URL", "http://127.0.0.1:9000/apple/storekit"),
    ("APPSTORE_SANDBOX_URL", "http://127.0.0.1:9000/apple/storekit/sandbox"),
    ("APNS_URL", "http://127.0.0.1:9000/apns"),
    ("APNS_SANDBOX_URL", "http://127.0.0.1:9000/apns/sandbox"),
    ("APPSTORE_ROOT_CERTIFICATE", "/etc/rendio/another-root.cer"),
    ("APPSTORE_ENVIRONMENTS", "Xcode"),
    ("APPSTORE_SANDBOX_TESTERS", "somebody"),
    ("APPSTORE_SANDBOX_CREDITS", "-1"),
    ("APPSTORE_ENVIRONMENTS", "Production,LocalTesting"),
    ("APP_ATTEST_ROOT", "-----BEGIN CERTIFICATE-----"),
    ("FAL_KEYS", "a-key-without-a-label"),
    ("FAL_KEYS", "one:id:secret,one:id:other"),
    ("FAL_KEYS_FILE", "/no/such/file"),
    ("JOB_RUN_DEADLINE_SECONDS", "soon"),
    ("CONSUMPTION_POLICY", "perhaps"),
    ("CONSUMPTION_ANSWER_MINUTES", "720"),
    ("JOB_STORE_DEADLINE_SECONDS", "3601"),
    ("JOB_STORE_PATIENCE_SECONDS", "0"),
    ("RUNWAY_KEYS", "no label"),
    ("RUNWAY_CREDIT_USD", "NaN"),
    ("RUNWAY_URL", "http://127.0.0.1:9000/runway"),
    ("REPLICATE_WEBHOOK_SECRETS", "whsec_no-base64!"),
    ("RUNPOD_URL", "http://127.0.0.1:9000/runpod"),
    ("RUNPOD_ENDPOINTS", "wan-2.2"),
    ("RUNPOD_ENDPOINTS", "wan-2.2:a,wan-2.2:b"),
    ("RUNPOD_GPU_SECOND_USD", "-1"),
    ("MODAL_URL", "http://127.0.0.1:9000/modal"),
    ("MODAL_KEY", "wk-1"),
    ("MODAL_KEYS", "one:wk-1:"),
    ("MODAL_GPU_SECOND_USD", "much"),
    ("OPENROUTER_MODELS", "gpt-5"),
    ("OPENROUTER_MODELS", "a/1,a/2,a/3,a/4"),
    ("OPENROUTER_URL", "http://127.0.0.1:9000/openrouter/api"),
    ("OPENROUTER_TIMEOUT_SECONDS", "60"),
    ("CLAMAV_URL", "clamd:3310"),
    ("CLAMAV_URL", "tcp://clamd:port"),
    ("CLAMAV_URL", "tcp://clamd:3310?tls=true"),
    ("EMAIL_URL", "smtp://user:password@mail.example.com:587?use_tls=true"),
    ("MODERATION", "off,blocklist"),
    ("RATE_LIMIT_GENERATION_PER_HOUR", "-1"),
    ("PROVIDER_MAX_CONCURRENT", "fal:0"),
    ("PROVIDER_MAX_CONCURRENT", "nobody:3"),
    ("PROVIDER_DAILY_USD", "fal:much"),
    ("PROVIDER_MONTHLY_USD", "nobody:3"),
    ("SPEND_ALERT_PERCENT", "120"),
    ("STORE_COMMISSION_PERCENT", "100"),
]


def environments_with(rows: list[tuple[str, str | None]]) -> list[dict[str, str | None]]:
    """Divide the rows among as few environments as possible, each variable once in each."""
    environments: list[dict[str, str | None]] = []
    for variable, value in rows:
        for environment in environments:
            if variable not in environment:
                environment[variable] = value
                break
        else:
            environments.append({variable: value})
    return environments


def test_production_refuses_to_start_and_names_each_variable(subtests):
    for environment in environments_with(WRONG):
        refused = start(**environment)

        assert refused.returncode != 0
        assert "Traceback" not in refused.stderr
        for variable, value in environment.items():
            with subtests.test(variable=variable, value=value):
                assert re.search(rf"^  {variable}\b", refused.stderr, re.M), refused.stderr


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("APNS_KEY_ID", "KEY3333333", "APNS_KEY_ID is set without the other"),
        ("APNS_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----", "APNS_PRIVATE_KEY is set without"),
        ("RENDIO_EMBEDDED", "postgresql", "DATABASE_URL and REDIS_URL"),
        ("C2PA_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----", "C2PA_CERTIFICATES is missing, and"),
        ("OPENROUTER_MODELS", "openai/gpt-5", "OPENROUTER_API_KEY is missing: OPENROUTER_MODELS"),
        ("MODERATION", "openai", "OPENAI_API_KEY is missing: MODERATION"),
        ("MODERATION_HOLD_AFTER", "3", "MODERATION_HOLD_AFTER and MODERATION_BAN_AFTER must grow"),
        ("RUNPOD_KEY", "rpa_1", "RUNPOD_MEDIA_HOSTS is missing, and there is a key for runpod"),
        ("MODAL_KEY", "wk-1:ws-1", "MODAL_MEDIA_HOSTS is missing, and there is a key for modal"),
        ("MODAL_KEY", "wk-1:ws-1", "MODAL_URL is not an https address"),
        ("ALERT_EMAILS", "ops@example.com", "EMAIL_URL is missing, and ALERT_EMAILS is set"),
    ],
)
def test_production_refuses_variables_that_do_not_fit_each_other(variable, value, message):
    refused = start(**{variable: value})

    assert refused.returncode != 0
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_all_that_is_wrong_is_named_at_once():
    refused = start(
        SECRET_KEY=None,
        TRUSTED_PROXIES="0",
        DB_LOCK_TIMEOUT_MS="long",
        CLAMAV_URL="clamd:3310",
        SESSION_SIGNING_KEYS="k1:short",
        HEARTBEAT_LATE_SECONDS="5",
        DEBUG="maybe",
    )

    named = [line.split()[0] for line in refused.stderr.splitlines() if line.startswith("  ")]
    # Each once, also where reading and production both have something against it.
    assert sorted(named) == [
        "CLAMAV_URL",
        "DB_LOCK_TIMEOUT_MS",
        "DEBUG",
        "HEARTBEAT_LATE_SECONDS",
        "SECRET_KEY",
        "SESSION_SIGNING_KEYS",
        "TRUSTED_PROXIES",
    ]
    assert "mostly 1" in refused.stderr  # the cure


def test_a_value_that_begins_with_a_dollar_is_what_it_says():
    """django-environ would look for a variable of that name."""
    secret = "$ecret of more than thirty-two letters \\$x"
    code = "from django.conf import settings; print(settings.SECRET_KEY)"

    told = manage("shell", "--verbosity", "0", "-c", code, SECRET_KEY=secret)

    assert told.stdout.strip() == secret, told.stderr


def test_the_example_has_every_variable_that_is_read_and_no_other():
    example = set(re.findall(r"^#([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.M))
    read = set(re.findall(r'[\w(]\(\s*"([A-Z][A-Z0-9_]+)"', SETTINGS))
    read |= set(re.findall(r'\("\w+", "([A-Z0-9_]+)", \d', SETTINGS))  # options of PostgreSQL
    for prefix in re.findall(r'key_ring\(\s*"([A-Z]+)"', SETTINGS):
        read |= {f"{prefix}_KEY", f"{prefix}_KEYS", f"{prefix}_KEYS_FILE"}
        read.remove(prefix)

    assert read - example == set()
    assert {name for name in example - read if not re.search(rf"\b{name}\b", ELSEWHERE)} == set()


def check_for_deployment(**changes: str) -> subprocess.CompletedProcess[str]:
    return manage("check", "--deploy", "--fail-level", "INFO", **changes)


def test_django_finds_nothing_to_warn_of():
    checked = check_for_deployment()

    assert checked.returncode == 0, checked.stderr


def test_hsts_switched_off_is_warned_of():
    assert "security.W004" in check_for_deployment(HSTS_SECONDS="0").stderr
