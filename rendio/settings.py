"""Django's settings, and every number of Rendio that can be tuned.

Most settings come from environment variables, which the strict readers of `environment` parse.
`.env.example` lists each variable with its default. In development every outside service is the
sandbox at SANDBOX_URL; production differs in base URLs and secrets only. `rendio.checks` refuses
settings that production must not start with.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from urllib3.util import parse_url

from rendio import checks
from rendio.common.keyring import KeyRing
from rendio.common.observability import logs
from rendio.common.web import forwarded
from rendio.config import database_url, environment
from rendio.config.environment import (
    BASE_DIR,
    PRODUCTION,
    SANDBOX_URL,
    add_problem,
    boolean,
    choice,
    choices,
    choices_or_off,
    database_address,
    decimal,
    decimal_map,
    email_settings,
    env,
    host_names,
    http_url,
    integer,
    integer_map,
    key_ring,
    listen_address,
    model_names,
    name_map,
    optional_instant,
    optional_integer,
    origins,
    pem,
    percentages,
    problems,
    redis_address,
    secrets,
    service_url,
    signing_identity,
    signing_keys,
    standard_webhook_secrets,
    tcp_address,
    uuids,
)


@dataclass(frozen=True)
class ProviderAccess:
    """Access to one provider of generated media."""

    keys: KeyRing
    url: str
    # Hosts that results may be fetched from: names, or *.domain.
    media_hosts: list[str]
    # Shared secrets of its webhooks' signatures; any of them may match.
    webhook_secrets: list[str] = field(repr=False)


# --- Deployment -------------------------------------------------------------------------------

DEBUG = boolean("DEBUG", default=False)
INSECURE_SECRET = "development-only-secret-that-production-refuses"  # noqa: S105
SECRET_KEY = env.str("SECRET_KEY", default=INSECURE_SECRET)
PUBLIC_URL = http_url("PUBLIC_URL", "http://127.0.0.1:8000")
ALLOWED_HOSTS = host_names("ALLOWED_HOSTS", default=[] if PRODUCTION else ["*"])
CSRF_TRUSTED_ORIGINS = origins("CSRF_TRUSTED_ORIGINS")
ENVIRONMENT = environment.ENVIRONMENT
TRUSTED_PROXIES = integer("TRUSTED_PROXIES", 0)
# The page at / (rendio/playground).
PLAYGROUND = boolean("PLAYGROUND", default=False)
PLAYGROUND_IN_PRODUCTION = boolean("PLAYGROUND_IN_PRODUCTION", default=False)
# Where its browsers reach the events process without a proxy. "": at PUBLIC_URL.
PLAYGROUND_EVENTS_URL = http_url("PLAYGROUND_EVENTS_URL", "").rstrip("/")
# The header that the proxies append to; the other one is ignored.
FORWARDED_HEADER = choice(
    "FORWARDED_HEADER", default=forwarded.X_FORWARDED_FOR, allowed=forwarded.HEADERS
)

# --- Django -----------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # without its site: ours is adminops.admin.site
    "adminops.apps.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "corsheaders",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "rendio",
    "rendio.playground",
    "credits",
    "accounts",
    "generation",
    "billing",
    "adminops",
]
MIDDLEWARE = [
    # The first and the last middleware, so that the time of all others is measured.
    "rendio.common.observability.http_metrics.AllMiddlewareMetrics",
    "rendio.common.observability.request_id.RequestIdMiddleware",
    "rendio.common.web.headers.SecurityHeadersMiddleware",
    "rendio.common.postgresql.middleware.DatabaseLimitMiddleware",
    "adminops.monitoring.error_log.ErrorLogMiddleware",
    "rendio.common.web.hosts.PinnedHostMiddleware",
    "rendio.common.web.cors.CrossOriginMiddleware",
    "rendio.common.web.language.LanguageMiddleware",
    "rendio.common.web.pages.WhiteNoiseMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "rendio.common.web.pages.SessionMiddleware",
    "rendio.common.web.pages.CsrfViewMiddleware",
    "rendio.common.web.pages.AuthenticationMiddleware",
    "rendio.common.web.pages.OTPMiddleware",
    "rendio.common.web.pages.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "rendio.common.web.pages.AxesMiddleware",
    "rendio.common.observability.http_metrics.ViewMetrics",
]
if TRUSTED_PROXIES and FORWARDED_HEADER == forwarded.FORWARDED:
    MIDDLEWARE.insert(0, "rendio.common.web.forwarded.ForwardedMiddleware")
ROOT_URLCONF = "rendio.urls"
WSGI_APPLICATION = "rendio.wsgi.application"
CSRF_FAILURE_VIEW = "rendio.error_pages.csrf_failure"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = [
    "adminops.auth.login.LockOutBackend",
    "django.contrib.auth.backends.ModelBackend",
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("tr", "Türkçe"), ("es", "Español")]
TIME_ZONE = "UTC"
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True
FORMAT_MODULE_PATH = "rendio.formats"
STATIC_URL = "/static/"
# Collected for production; in development served from the apps' folders.
STATIC_ROOT = BASE_DIR / "staticfiles" if PRODUCTION else None
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not PRODUCTION
WHITENOISE_ALLOW_ALL_ORIGINS = False
DATA_UPLOAD_MAX_MEMORY_SIZE = integer("MAX_BODY_BYTES", 1_000_000, at_least=1_000)
# Nesting of arrays and objects in a JSON body; ours need four.
MAX_JSON_DEPTH = integer("MAX_JSON_DEPTH", 20, at_least=1, at_most=200)
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
if LOG_LEVEL not in logging.getLevelNamesMapping():
    add_problem(f"LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR, not {LOG_LEVEL!r}.")
    LOG_LEVEL = "INFO"
LOGGING = logs.logging_config(LOG_LEVEL)
logs.configure()
SILENCED_SYSTEM_CHECKS = [
    # 429s of the staff's sign-in; that django-ratelimit counts on Django's own Redis cache is on
    # purpose.
    "django_ratelimit.W001",
    # To have browsers preload HSTS is a promise for a whole domain, not for this host.
    "security.W021",
    # The middleware of CSRF and axes is a subclass, in rendio.common.web.pages.
    "security.W003",
    "axes.W002",
]

# --- Browser security: the policies of pages are in headers.py --------------------------------

X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
# Only our own proxy knows whether a request came by https.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_SSL_REDIRECT = PRODUCTION and TRUSTED_PROXIES > 0
# The same response for everybody, cached by the web server for a second.
PUBLIC_PROBE_PATHS = ["/healthz", "/readyz", "/statusz"]
# Called past the proxy: by http, and by an address instead of a name.
PROBE_PATHS = [*PUBLIC_PROBE_PATHS, "/metrics"]
SECURE_REDIRECT_EXEMPT = [f"^{path[1:]}$" for path in PROBE_PATHS]
SECURE_HSTS_SECONDS = integer("HSTS_SECONDS", 31_536_000 if PRODUCTION else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
# Scripts of these origins may read our responses, without cookies.
CORS_ALLOWED_ORIGINS = origins("CORS_ALLOWED_ORIGINS")
CORS_URLS_REGEX = r"^/(functions/)?v1/"
CORS_ALLOW_METHODS = ["GET", "POST", "DELETE"]
CORS_ALLOW_HEADERS = [
    "accept-language",
    "apikey",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-none-match",
    "last-event-id",
    "x-request-id",
]
CORS_EXPOSE_HEADERS = [
    "etag",
    "retry-after",
    "x-idempotent-replay",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-request-id",
]

# --- The web server: rendio/server ------------------------------------------------------------

# Threads for calls in each process; each holds a connection to PostgreSQL.
WEB_THREADS = integer("WEB_THREADS", 8, at_least=1)
WEB_CONNECTIONS = integer("WEB_CONNECTIONS", 2_000, at_least=20)
WEB_HEAD_SECONDS = integer("WEB_HEAD_SECONDS", 10, at_least=1)
WEB_BODY_SECONDS = integer("WEB_BODY_SECONDS", 20, at_least=1)
WEB_READER_SECONDS = integer("WEB_READER_SECONDS", 30, at_least=1)
WEB_QUEUE_SECONDS = integer("WEB_QUEUE_SECONDS", 8, at_least=1)
WEB_LEAST_BYTES_PER_SECOND = integer("WEB_LEAST_BYTES_PER_SECOND", 4_000, at_least=1)
WEB_BODY_MEMORY_BYTES = integer("WEB_BODY_MEMORY_BYTES", 200_000_000, at_least=1_000_000)

# --- PostgreSQL and Redis ---------------------------------------------------------------------

DATABASE_ADDRESS = database_address(
    "DATABASE_URL", default="postgresql://rendio:rendio@127.0.0.1:5432/rendio"
)
# PostgreSQL's own limits, in milliseconds.
DB_LIMITS_MS = {
    "statement_timeout": integer("DB_STATEMENT_TIMEOUT_MS", 15_000),
    "lock_timeout": integer("DB_LOCK_TIMEOUT_MS", 5_000),
    "idle_in_transaction_session_timeout": integer("DB_IDLE_TIMEOUT_MS", 30_000),
}
# DATABASE_URL names a pooler in transaction mode.
DB_POOLED = boolean("DB_POOLED", default=False)
if DB_POOLED and "options" in DATABASE_ADDRESS:
    add_problem("DATABASE_URL has options, which no pooler passes on: DB_POOLED is set.")
DATABASES = {
    "default": {
        "ENGINE": "rendio.common.postgresql",
        # One connection for each thread, kept. A ping before each request would cost every request
        # a round trip; our backend sees without one that PostgreSQL has closed a connection.
        "CONN_MAX_AGE": None,
        **database_url.django_settings(
            DATABASE_ADDRESS,
            defaults={
                "connect_timeout": 5,
                # A peer that vanished without closing, in milliseconds: sent data is not
                # acknowledged.
                "tcp_user_timeout": 8_000,
                "application_name": "rendio",
                # Of the statements of rendio.common.db only; Django's other cursors never prepare.
                "prepare_threshold": 2,
            },
            # A pooler passes none on: there the role has them (rendio.common.postgresql.session).
            options=""
            if DB_POOLED
            else " ".join(f"-c {name}={ms}" for name, ms in DB_LIMITS_MS.items()),
        ),
        # They outlive a transaction, and with a pooler PostgreSQL's session does not.
        "DISABLE_SERVER_SIDE_CURSORS": DB_POOLED,
    }
}
# After this wait PostgreSQL is asked on a second connection whether it answers at all, with the
# same limit (rendio.common.postgresql.limits).
DB_HANG_SECONDS = integer("DB_HANG_SECONDS", 3, at_least=1)
# Total wait of one call for PostgreSQL.
DB_REQUEST_SECONDS = integer("DB_REQUEST_SECONDS", 8, at_least=1)
# manage.py migrate
MIGRATE_LOCK_TIMEOUT_MS = integer("MIGRATE_LOCK_TIMEOUT_MS", 2_000, at_least=1)
MIGRATE_LOCK_TRIES = integer("MIGRATE_LOCK_TRIES", 30, at_least=1)
REDIS_ADDRESS = redis_address("REDIS_URL", default="redis://127.0.0.1:6379/0")
REDIS_URL = REDIS_ADDRESS.url
# An unavailable Redis must cost a request less than a second. A broken connection, as after a
# restart of Redis, is reopened within the request; a time-out is not retried.
REDIS_CLIENT_OPTIONS = {
    "socket_connect_timeout": 0.3,
    "socket_timeout": 0.5,
    "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
}
CACHES = {
    # Libraries keep objects here (unfold: results of the admin's search), and Django pickles them.
    # So this cache is the memory of each process: from Redis, a pickle is code that runs.
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "counters": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {
            **REDIS_CLIENT_OPTIONS,
            "serializer": "rendio.common.integers.IntegerSerializer",
        },
    },
}
RATELIMIT_USE_CACHE = "counters"

# --- Celery: see rendio/celery.py -------------------------------------------------------------

CELERY_BROKER_URL = REDIS_ADDRESS.broker_url
CELERY_BROKER_USE_SSL = REDIS_ADDRESS.broker_use_ssl
# JSON in every direction: messages, events (Flower's too), replies to remote control.
CELERY_ACCEPT_CONTENT = CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = CELERY_EVENT_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = "high"
CELERY_TASK_TIME_LIMIT = 240
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Without a limit: after Celery's default of 100 attempts a worker would end.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Longer than any task may take: a message that is given out again would run beside itself.
    "visibility_timeout": 3600,
    "socket_connect_timeout": 1,
    "socket_timeout": 10,
    "socket_keepalive": True,
    "health_check_interval": 30,
}
CELERY_TASK_PUBLISH_RETRY = False
# Without it Celery closes the database connection around every task: 10 ms of PostgreSQL each.
CELERY_DB_REUSE_MAX = 10_000
CELERY_TIMEZONE = "UTC"

# --- Monitoring: adminops/monitoring ----------------------------------------------------------

CELERY_BEAT_SCHEDULER = "rendio.beat_scheduler:Scheduler"
HEARTBEAT_SECONDS = integer("HEARTBEAT_SECONDS", 5, at_least=1)
HEARTBEAT_LATE_SECONDS = integer("HEARTBEAT_LATE_SECONDS", 20, at_least=2)
if HEARTBEAT_LATE_SECONDS <= HEARTBEAT_SECONDS:
    add_problem("HEARTBEAT_LATE_SECONDS must be more than HEARTBEAT_SECONDS.")
CLOCK_SKEW_LIMIT_SECONDS = integer("CLOCK_SKEW_LIMIT_SECONDS", 5, at_least=1)
DUE_LATE_SECONDS = integer("DUE_LATE_SECONDS", 300, at_least=1)
LEDGER_PROOF_SECONDS = integer("LEDGER_PROOF_SECONDS", 3600, at_least=60)
# Bearer token for /metrics; if empty, in development, everybody may read.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
# Port of a worker's own /metrics; 0: none.
WORKER_METRICS_PORT = integer("WORKER_METRICS_PORT", 0, at_most=65535)
WORKER_METRICS_ADDRESS = listen_address("WORKER_METRICS_ADDRESS", default="127.0.0.1")
# Alert when a provider's spend reaches these shares of its cap, and when the ledger is unbalanced.
SPEND_ALERT_PERCENT = percentages("SPEND_ALERT_PERCENT", "50,80,100")
ALERT_EMAILS = env.list("ALERT_EMAILS", default=[])
ALERT_WEBHOOK_URL = http_url("ALERT_WEBHOOK_URL", "")
DEFAULT_FROM_EMAIL = env.str("ALERT_FROM_EMAIL", default="rendio@localhost")
vars().update(email_settings("EMAIL_URL"))
EMAIL_TIMEOUT = 10
# Neither is imported if its address is empty.
SENTRY_DSN = http_url("SENTRY_DSN", "")
OTEL_ENDPOINT = http_url("OTEL_EXPORTER_OTLP_ENDPOINT", "")
if OTEL_ENDPOINT:
    MIDDLEWARE.insert(0, "rendio.common.observability.tracing.TracingMiddleware")
PROMETHEUS_METRIC_NAMESPACE = "rendio"
PROMETHEUS_EXPORT_MIGRATIONS = False
PROMETHEUS_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, float("inf"))

# --- Error log: adminops/monitoring/error_log.py ----------------------------------------------

# Refusals logged of each code in each process; 0: none.
ERROR_LOG_PER_MINUTE = integer("ERROR_LOG_PER_MINUTE", 20)
ERROR_LOG_ROWS = integer("ERROR_LOG_ROWS", 100_000, at_least=1)
ERROR_LOG_DAYS = integer("ERROR_LOG_DAYS", 14, at_least=1)

# --- The API ----------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.AccessTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rendio.common.web.parsers.StrictJSONParser"],
    # OPTIONS would tell what our code says of itself.
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "rendio.openapi.schema.OperationSchema",
    "EXCEPTION_HANDLER": "rendio.common.errors.handle_exception",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": False,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Rendio",
    "DESCRIPTION": "Videos made with AI: operations for the app, for support, and webhooks. Paths "
    "under `/v1` also exist under `/functions/v1`, for older builds. All errors have the same "
    "format; every operation lists its codes. Older builds also send their `user_id` in the query "
    "or the body: any value but the caller's own id, also an empty text, is `ERR_4006`.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": PUBLIC_URL}],
    "SERVE_INCLUDE_SCHEMA": False,
    "PREPROCESSING_HOOKS": ["rendio.openapi.schema.exclude_legacy_prefix"],
    "POSTPROCESSING_HOOKS": [
        "rendio.openapi.schema.add_components",
        "rendio.openapi.names.name_schemas",
        "rendio.openapi.shapes.for_generators",
    ],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}
# A view names its limits in `limits`, or counts calls itself (rendio/common/web/api.py).
RATE_LIMITS = {
    # name: (number, seconds). A name with a tier as its prefix is for users of that tier.
    # Orders: generate-video and the other calls of `PaidCall` (generation/api.py).
    "generation_hour_per_user": (integer("RATE_LIMIT_GENERATION_PER_HOUR", 10), 3600),
    "generation_minute_per_user": (integer("RATE_LIMIT_GENERATION_PER_MINUTE", 10), 60),
    # The rows of a job are never deleted.
    "generation_day_per_user": (integer("RATE_LIMIT_GENERATION_PER_DAY", 500), 86_400),
    "quotes_per_user": (integer("RATE_LIMIT_QUOTES_PER_MINUTE", 60), 60),
    "improved_prompts_per_user": (integer("RATE_LIMIT_IMPROVED_PROMPTS_PER_HOUR", 30), 3600),
    "consents_per_user": (integer("RATE_LIMIT_CONSENTS_PER_HOUR", 10), 3600),
    # A caller with a proof has limits of its own. Ten thousand phones may share an address:
    # docs/decisions/0028-shared-addresses.md has the arithmetic of the limits by address.
    "device_check_per_installation": (integer("RATE_LIMIT_DEVICE_CHECK_PER_HOUR", 20), 3600),
    "first_check_per_ip": (integer("RATE_LIMIT_FIRST_CHECK_PER_HOUR", 20_000), 3600),
    "reinstall_per_ip": (integer("RATE_LIMIT_REINSTALL_PER_HOUR", 300), 3600),
    "unproven_per_ip": (integer("RATE_LIMIT_UNPROVEN_PER_HOUR", 200), 3600),
    "attest_per_ip": (integer("RATE_LIMIT_ATTEST_PER_HOUR", 20_000), 3600),
    "refresh_per_session": (integer("RATE_LIMIT_REFRESH_PER_MINUTE", 60), 60),
    "refused_refresh_per_ip": (integer("RATE_LIMIT_REFUSED_REFRESH_PER_MINUTE", 300), 60),
    "sign_in_per_user": (integer("RATE_LIMIT_SIGN_IN_PER_HOUR", 30), 3600),
    "unknown_code_per_ip": (integer("RATE_LIMIT_REDEEM_PER_HOUR", 600), 3600),
    "redeem_per_user": (integer("RATE_LIMIT_REDEEM_PER_MINUTE", 5), 60),
    "uploads_per_user": (integer("RATE_LIMIT_UPLOADS_PER_HOUR", 60), 3600),
    "training_uploads_per_user": (integer("RATE_LIMIT_TRAINING_UPLOADS_PER_HOUR", 30), 3600),
    "export_per_user": (integer("RATE_LIMIT_EXPORT_PER_HOUR", 10), 3600),
    "purchases_per_user": (integer("RATE_LIMIT_PURCHASES_PER_HOUR", 30), 3600),
    "default_per_user": (integer("RATE_LIMIT_DEFAULT_PER_MINUTE", 120), 60),
    "premium_generation_hour_per_user": (
        integer("RATE_LIMIT_PREMIUM_GENERATION_PER_HOUR", 30),
        3600,
    ),
    "premium_generation_minute_per_user": (
        integer("RATE_LIMIT_PREMIUM_GENERATION_PER_MINUTE", 30),
        60,
    ),
    "premium_generation_day_per_user": (
        integer("RATE_LIMIT_PREMIUM_GENERATION_PER_DAY", 3000),
        86_400,
    ),
    "premium_default_per_user": (integer("RATE_LIMIT_PREMIUM_DEFAULT_PER_MINUTE", 360), 60),
    "forgeries_per_ip": (integer("RATE_LIMIT_FORGERIES_PER_MINUTE", 30), 60),
}

# --- Staff: adminops/auth, adminops/actions ---------------------------------------------------

# Credits that one member of staff moves in a day without approval: to one user; for all users
# together (None: 5 times the limit); approved for others (None: 20 times the daily budget).
# 0: no limit. The rule, and the factors 5 and 20: adminops/actions/budgets.py.
SUPPORT_GRANT_LIMIT = integer("SUPPORT_GRANT_LIMIT", 100, at_least=0)
SUPPORT_DAILY_BUDGET = optional_integer("SUPPORT_DAILY_BUDGET", at_least=0)
SUPPORT_APPROVAL_BUDGET = optional_integer("SUPPORT_APPROVAL_BUDGET", at_least=0)
# Change of a price, cost or product's credits without approval, in percent; 0: no limit.
SUPPORT_PRICE_CHANGE_PERCENT = integer("SUPPORT_PRICE_CHANGE_PERCENT", 25, at_least=0)
STAFF_LOGIN_RATE = env.str("STAFF_LOGIN_RATE", default="10/m")
# Checked here: django-ratelimit would complain only at a sign-in.
if not re.fullmatch(r"[0-9]+/[1-9]?[0-9]*[smhd]", STAFF_LOGIN_RATE):
    add_problem(f"STAFF_LOGIN_RATE must be like 10/m, not {STAFF_LOGIN_RATE!r}.")
    STAFF_LOGIN_RATE = "10/m"
REQUIRE_SECOND_FACTOR = boolean("REQUIRE_SECOND_FACTOR", default=PRODUCTION)
OTP_TOTP_ISSUER = "Rendio"
AXES_FAILURE_LIMIT = integer("STAFF_LOGIN_FAILURES", 5, at_least=1)
AXES_COOLOFF_TIME = timedelta(minutes=integer("STAFF_LOGIN_LOCKOUT_MINUTES", 15, at_least=1))
# By name and address together: by name alone, an attacker could lock out any member of staff.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "adminops.auth.login.client_address"
AXES_USERNAME_CALLABLE = "adminops.auth.login.attempted_username"
AXES_CLIENT_STR_CALLABLE = "adminops.auth.login.log_label"
AXES_LOCKOUT_CALLABLE = "adminops.auth.login.lockout_response"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False

# --- Sessions and devices ---------------------------------------------------------------------

SESSION_SIGNING_KEYS = signing_keys("SESSION_SIGNING_KEYS") or {"development": INSECURE_SECRET}
ACCESS_TOKEN_SECONDS = integer("ACCESS_TOKEN_SECONDS", 3600, at_least=1)
REFRESH_TOKEN_DAYS = integer("REFRESH_TOKEN_DAYS", 60, at_least=1)
REFRESH_GRACE_SECONDS = integer("REFRESH_GRACE_SECONDS", 30)
# Keys of installation secrets and device ids: the first makes new hashes, all verify.
INSTALLATION_KEYS = signing_keys("INSTALLATION_KEYS") or {"development": INSECURE_SECRET}
# Until then a device_id of the previous release accepts the first secret, even without a session.
INSTALLATION_SECRET_GRACE_UNTIL = optional_instant("INSTALLATION_SECRET_GRACE_UNTIL")
REVOCATION_REFRESH_SECONDS = integer("REVOCATION_REFRESH_SECONDS", 2, at_least=1)
APPLE_TEAM_ID = env.str("APPLE_TEAM_ID", default="" if PRODUCTION else "SANDBOXTEAM")
DEVICECHECK_URL = http_url(
    "DEVICECHECK_URL",
    "https://api.devicecheck.apple.com/v1" if PRODUCTION else f"{SANDBOX_URL}/apple/devicecheck/v1",
)
DEVICECHECK_KEY_ID = env.str("DEVICECHECK_KEY_ID", default="" if PRODUCTION else "SANDBOXKEY")
DEVICECHECK_PRIVATE_KEY = pem("DEVICECHECK_PRIVATE_KEY")
# Apple's responses, with 200, for bits that were never set. Case does not matter.
DEVICECHECK_NEVER_SET = env.list(
    "DEVICECHECK_NEVER_SET", default=["Failed to find bit state", "Bit State Not Found"]
)
# How long a check's device token is kept, encrypted, so that a ban reaches the hardware. 0: not at
# all, and a ban waits for the next check of the device.
DEVICE_TOKEN_HOURS = integer("DEVICE_TOKEN_HOURS", 24)
# Refuse device checks without the signature of an attested key.
REQUIRE_APP_ATTEST = boolean("REQUIRE_APP_ATTEST", default=False)
APP_ATTEST_CHALLENGE_SECONDS = integer("APP_ATTEST_CHALLENGE_SECONDS", 300, at_least=1)
# Apple's own if empty; others are for tests.
APP_ATTEST_ROOT = pem("APP_ATTEST_ROOT")

# --- The welcome ------------------------------------------------------------------------------

WELCOME_CREDITS = integer("WELCOME_CREDITS", 10)
# Balance of credits that nobody paid for; 0: no limit. A grant beyond it expires at once.
MAX_GRANTED_BALANCE = integer("MAX_GRANTED_BALANCE", 0)
# One new phone at a time gets its welcome. A device check waits this long for its turn, then
# responds without the credits, which a worker grants later.
WELCOME_WAIT_SECONDS = integer("WELCOME_WAIT_SECONDS", 5)
# Device checks of one process that may wait: half of the threads of a web process.
WELCOME_WAITERS = integer("WELCOME_WAITERS", 4)

# --- Sign in with Apple -----------------------------------------------------------------------

APPLE_ISSUER = env.str("APPLE_ISSUER", default="https://appleid.apple.com")
_APPLE_AUTH = "https://appleid.apple.com/auth" if PRODUCTION else f"{SANDBOX_URL}/apple/auth"
APPLE_KEYS_URL = http_url("APPLE_KEYS_URL", f"{_APPLE_AUTH}/keys")
APPLE_TOKEN_URL = http_url("APPLE_TOKEN_URL", f"{_APPLE_AUTH}/token")
APPLE_REVOKE_URL = http_url("APPLE_REVOKE_URL", f"{_APPLE_AUTH}/revoke")
# Our bundle ids: accepted audiences of Apple's identity tokens.
APPLE_CLIENT_IDS = env.list("APPLE_CLIENT_IDS", default=[] if PRODUCTION else ["com.rendio.app"])
SIGN_IN_KEY_ID = env.str("SIGN_IN_KEY_ID", default="" if PRODUCTION else "SANDBOXKEY")
SIGN_IN_PRIVATE_KEY = pem("SIGN_IN_PRIVATE_KEY")
# Keys for Apple's refresh tokens: the first encrypts, all decrypt.
APPLE_TOKEN_KEYS = secrets("APPLE_TOKEN_KEYS") or [INSECURE_SECRET]

# --- App Store --------------------------------------------------------------------------------

# Environments whose purchases count. Xcode and LocalTesting are always refused: Apple does not sign
# their data.
APPSTORE_ENVIRONMENTS = choices("APPSTORE_ENVIRONMENTS", ("Production", "Sandbox"))
# Total credits of a user, and of an Apple account, for purchases in Apple's sandbox, where nobody
# pays. Testers, by user id, have no limit.
APPSTORE_SANDBOX_CREDITS = integer("APPSTORE_SANDBOX_CREDITS", 100)
APPSTORE_SANDBOX_TESTERS = uuids("APPSTORE_SANDBOX_TESTERS")
APPSTORE_BUNDLE_ID = env.str("APPSTORE_BUNDLE_ID", default=next(iter(APPLE_CLIENT_IDS), ""))
# appAppleId: the app's number in the App Store.
APPSTORE_APP_ID = integer("APPSTORE_APP_ID", 0 if PRODUCTION else 1_234_567_890)
APPSTORE_ISSUER_ID = env.str(
    "APPSTORE_ISSUER_ID", default="" if PRODUCTION else "00000000-0000-4000-8000-00000000a991"
)
APPSTORE_KEY_ID = env.str("APPSTORE_KEY_ID", default="" if PRODUCTION else "SANDBOXKEY")
APPSTORE_PRIVATE_KEY = pem("APPSTORE_PRIVATE_KEY")
# A DER file, for the sandbox's root only; empty: Apple's root, which is in the source.
APPSTORE_ROOT_CERTIFICATE = env.str("APPSTORE_ROOT_CERTIFICATE", default="")
# Check in the worker whether Apple's certificates are revoked (OCSP).
APPSTORE_ONLINE_CHECKS = boolean("APPSTORE_ONLINE_CHECKS", default=True)
APPSTORE_URL = http_url(
    "APPSTORE_URL",
    "https://api.storekit.apple.com" if PRODUCTION else f"{SANDBOX_URL}/apple/storekit",
).rstrip("/")
APPSTORE_SANDBOX_URL = http_url(
    "APPSTORE_SANDBOX_URL",
    "https://api.storekit-sandbox.apple.com"
    if PRODUCTION
    else f"{SANDBOX_URL}/apple/storekit/sandbox",
)

# The refund decision that we prefer (billing.models.RefundPolicy), sent to Apple for customers who
# agreed: after a delay, in which jobs end and support may decide otherwise, and before Apple's
# deadline.
CONSUMPTION_POLICY = choice(
    "CONSUMPTION_POLICY", default="by_share", allowed=("none", "decline", "grant", "by_share")
)
CONSUMPTION_ANSWER_MINUTES = integer("CONSUMPTION_ANSWER_MINUTES", 60)
CONSUMPTION_DEADLINE_HOURS = integer("CONSUMPTION_DEADLINE_HOURS", 12, at_least=1)
if CONSUMPTION_ANSWER_MINUTES >= CONSUMPTION_DEADLINE_HOURS * 60:
    add_problem("CONSUMPTION_ANSWER_MINUTES is after CONSUMPTION_DEADLINE_HOURS.")

# Fraud signals: normal numbers for one Apple account, and the score from which purchases wait for
# support (0: never).
FRAUD_DEVICES = integer("FRAUD_DEVICES", 10)
FRAUD_PURCHASES_PER_HOUR = integer("FRAUD_PURCHASES_PER_HOUR", 20)
FRAUD_HOLD_SCORE = integer("FRAUD_HOLD_SCORE", 100)

# Refuse paid jobs until the user agrees to all providers that may make the chosen model.
REQUIRE_AI_CONSENT = boolean("REQUIRE_AI_CONSENT", default=False)

# --- Pushes: accounts/push --------------------------------------------------------------------

# Without a key no push is sent or stored.
APNS_KEY_ID = env.str("APNS_KEY_ID", default="" if PRODUCTION else "SANDBOXKEY")
APNS_PRIVATE_KEY = pem("APNS_PRIVATE_KEY")
APNS_TOPIC = env.str("APNS_TOPIC", default=APPSTORE_BUNDLE_ID)
APNS_URL = service_url("APNS_URL", "https://api.push.apple.com", sandbox="apns")
# Host for builds from Xcode, whose tokens the other does not know.
APNS_SANDBOX_URL = service_url(
    "APNS_SANDBOX_URL", "https://api.sandbox.push.apple.com", sandbox="apns/sandbox"
)
# An older push is not sent.
PUSH_EXPIRY_HOURS = integer("PUSH_EXPIRY_HOURS", 24, at_least=1, at_most=24 * 28)

# --- Generation -------------------------------------------------------------------------------

CREDIT_PRICE_USD = "0.10"
IDEMPOTENCY_KEY_HOURS = integer("IDEMPOTENCY_KEY_HOURS", 24, at_least=1)
QUOTE_SECONDS = integer("QUOTE_SECONDS", 600, at_least=1)
# A failed job may be ordered again with the same quote.
QUOTE_ORDERS = integer("QUOTE_ORDERS", 3, at_least=1)
# generation/exposure.py: job endings that cost us and are free for one person, in this many days.
CANCEL_FREE_COUNT = integer("CANCEL_FREE_COUNT", 3)
CANCEL_FREE_DAYS = integer("CANCEL_FREE_DAYS", 30, at_least=1, at_most=365)
# Provider cost of one person's orders in a day (UTC), in dollars; 0: no limit.
PERSON_DAILY_USD = decimal("PERSON_DAILY_USD", "50")
CATALOGUE_CACHE_SECONDS = integer("CATALOGUE_CACHE_SECONDS", 5)
# A user's concurrent jobs at providers, by tier.
JOBS_AT_ONCE = {
    "free": integer("JOBS_AT_ONCE_FREE", 10, at_least=1),
    "premium": integer("JOBS_AT_ONCE_PREMIUM", 30, at_least=1),
}
BREAKER_FAILURES = integer("BREAKER_FAILURES", 10, at_least=1)
BREAKER_WINDOW_SECONDS = integer("BREAKER_WINDOW_SECONDS", 60, at_least=1)
BREAKER_OPEN_SECONDS = integer("BREAKER_OPEN_SECONDS", 30, at_least=1)
STORE_COMMISSION_PERCENT = integer("STORE_COMMISSION_PERCENT", 30, at_most=99)
# Smallest margin of a route (generation/catalogue/routing.py). Below zero, failover may cost us
# money.
MARGIN_FLOOR_PERCENT = integer("MARGIN_FLOOR_PERCENT", -50, at_least=-1000, at_most=100)
# Of one events process: rendio/events. Each stream is a connection and some 16 kB.
EVENT_STREAMS_PER_PROCESS = integer("EVENT_STREAMS_PER_PROCESS", 10_000)
EVENT_STREAMS_PER_USER = integer("EVENT_STREAMS_PER_USER", 4)
JOB_WAIT_DEADLINE_SECONDS = integer("JOB_WAIT_DEADLINE_SECONDS", 1800, at_least=1)
JOB_SUBMIT_DEADLINE_SECONDS = integer("JOB_SUBMIT_DEADLINE_SECONDS", 120, at_least=1)
JOB_START_DEADLINE_SECONDS = integer("JOB_START_DEADLINE_SECONDS", 600, at_least=1)
# None: the model's own deadline, else 10 minutes.
JOB_RUN_DEADLINE_SECONDS = optional_integer("JOB_RUN_DEADLINE_SECONDS")
# fal and Replicate keep results for an hour: a longer wait is useless.
JOB_STORE_DEADLINE_SECONDS = integer("JOB_STORE_DEADLINE_SECONDS", 1800, at_least=1, at_most=3600)
# From the first failed fetch of a finished result to the refund. Fetches go on until the deadline.
JOB_STORE_PATIENCE_SECONDS = integer("JOB_STORE_PATIENCE_SECONDS", 120, at_least=1)
# Backoff between polls; also of retries of submit, store and convert.
POLL_FIRST_SECONDS = integer("POLL_FIRST_SECONDS", 2, at_least=1)
POLL_LONGEST_SECONDS = integer("POLL_LONGEST_SECONDS", 30, at_least=1)
PROVIDER_CONNECT_TIMEOUT_SECONDS = integer("PROVIDER_CONNECT_TIMEOUT_SECONDS", 5, at_least=1)
PROVIDER_READ_TIMEOUT_SECONDS = integer("PROVIDER_READ_TIMEOUT_SECONDS", 30, at_least=1)
# Each is a module of generation.providers. A provider without a key gets no requests.
_LOCAL = [parse_url(SANDBOX_URL).host or ""]
PROVIDERS = {
    "fal": ProviderAccess(
        keys=key_ring("FAL", sandbox="sandbox-id:sandbox-secret"),
        url=service_url("FAL_URL", "https://queue.fal.run", sandbox="fal/queue"),
        media_hosts=env.list(
            "FAL_MEDIA_HOSTS", default=["*.fal.media", "fal.media"] if PRODUCTION else _LOCAL
        ),
        webhook_secrets=[],
    ),
    "runway": ProviderAccess(
        keys=key_ring("RUNWAY", sandbox="sandbox-secret"),
        url=service_url("RUNWAY_URL", "https://api.dev.runwayml.com", sandbox="runway"),
        media_hosts=env.list(
            "RUNWAY_MEDIA_HOSTS", default=["*.cloudfront.net"] if PRODUCTION else _LOCAL
        ),
        webhook_secrets=secrets("RUNWAY_WEBHOOK_SECRETS"),
    ),
    "replicate": ProviderAccess(
        keys=key_ring("REPLICATE", sandbox="sandbox-secret"),
        url=service_url("REPLICATE_URL", "https://api.replicate.com", sandbox="replicate"),
        media_hosts=env.list(
            "REPLICATE_MEDIA_HOSTS",
            default=["replicate.delivery", "*.replicate.delivery"] if PRODUCTION else _LOCAL,
        ),
        webhook_secrets=standard_webhook_secrets("REPLICATE_WEBHOOK_SECRETS"),
    ),
    # Our own workers on rented GPUs. Their results are in our own bucket, and their webhooks are
    # not signed.
    "runpod": ProviderAccess(
        keys=key_ring("RUNPOD", sandbox="sandbox-secret"),
        url=service_url("RUNPOD_URL", "https://api.runpod.ai", sandbox="runpod"),
        media_hosts=env.list("RUNPOD_MEDIA_HOSTS", default=[] if PRODUCTION else _LOCAL),
        webhook_secrets=[],
    ),
    "modal": ProviderAccess(
        keys=key_ring("MODAL", sandbox="wk-sandbox:ws-sandbox", has_pairs=True),
        # The address has our workspace's name in it: https://WORKSPACE--rendio-gpu-web.modal.run
        url=http_url("MODAL_URL", "" if PRODUCTION else f"{SANDBOX_URL}/modal"),
        media_hosts=env.list("MODAL_MEDIA_HOSTS", default=[] if PRODUCTION else _LOCAL),
        webhook_secrets=[],
    ),
}
# Concurrent submissions of each key of a provider; no limit for others.
PROVIDER_MAX_CONCURRENT = integer_map("PROVIDER_MAX_CONCURRENT", of=PROVIDERS)
# Of these, the share that only images may use. Rounded down.
PROVIDER_SLOTS_FOR_IMAGES_PERCENT = integer(
    "PROVIDER_SLOTS_FOR_IMAGES_PERCENT", 20, at_least=0, at_most=90
)
# The prompt helper (generation/prompt_helper): models in the order in which they are asked. Without
# models the helper is off.
OPENROUTER_MODELS = model_names("OPENROUTER_MODELS", at_most=3)
OPENROUTER_API_KEY = env.str("OPENROUTER_API_KEY", default="" if PRODUCTION else "sandbox-secret")
OPENROUTER_URL = service_url(
    "OPENROUTER_URL", "https://openrouter.ai/api", sandbox="openrouter/api"
)
OPENROUTER_TIMEOUT_SECONDS = integer("OPENROUTER_TIMEOUT_SECONDS", 8, at_least=3, at_most=20)
# Booked for a call whose cost is not known.
OPENROUTER_MAX_USD = decimal("OPENROUTER_MAX_USD", "0.01")
# Spend cap of a provider in a day and in a month (UTC). In production a day has a cap by default;
# `off` removes it.
DEFAULT_DAILY_USD = 500
# Services whose costs are booked.
PAID_SERVICES = [*PROVIDERS, "openrouter"]
PROVIDER_SPEND_CAPS = {
    "day": decimal_map(
        "PROVIDER_DAILY_USD",
        of=PAID_SERVICES,
        default_usd=DEFAULT_DAILY_USD if PRODUCTION else None,
    ),
    "month": decimal_map("PROVIDER_MONTHLY_USD", of=PAID_SERVICES, default_usd=None),
}
# Our price of one Runway credit.
RUNWAY_CREDIT_USD = decimal("RUNWAY_CREDIT_USD", "0.01")
# Endpoints by the names that routes have for them.
RUNPOD_ENDPOINTS = name_map("RUNPOD_ENDPOINTS")
# Price of a second of the GPU that the workers use: an H100.
RUNPOD_GPU_SECOND_USD = decimal("RUNPOD_GPU_SECOND_USD", "0.00116")
MODAL_GPU_SECOND_USD = decimal("MODAL_GPU_SECOND_USD", "0.001097")
# Used only if no connection to the queue is possible; none in development.
# Lifetime of results at fal, which has no call to delete a file: we copy each result at once, and
# staff may fetch it again until then.
FAL_FILE_DAYS = integer("FAL_FILE_DAYS", 7, at_least=1)
FAL_BACKUP_URL = http_url("FAL_BACKUP_URL", "https://queue.falrun.com" if PRODUCTION else "")
FAL_JWKS_URL = service_url(
    "FAL_JWKS_URL", "https://rest.fal.ai/.well-known/jwks.json", sandbox="fal/jwks.json"
)
# Our account at fal. A webhook's signature proves that fal sent it, not that it is for us.
FAL_USER_ID = env.str("FAL_USER_ID", default="" if PRODUCTION else "sandbox-user")
# Private addresses may be fetched only if the services are the sandbox.
ALLOW_PRIVATE_ADDRESSES = not PRODUCTION
MAX_VIDEO_BYTES = integer("MAX_VIDEO_BYTES", 200_000_000, at_least=1_000)
MAX_WEIGHTS_BYTES = integer("MAX_WEIGHTS_BYTES", 1_000_000_000, at_least=1_000)
# Limits of the process that reads or converts one video. A lease is a minute or two longer.
FILM_CONVERT_SECONDS = integer("FILM_CONVERT_SECONDS", 300, at_least=1, at_most=1500)
# Concurrent conversions of all workers: each occupies a process of a `low` worker.
FILM_CONVERSIONS = integer("FILM_CONVERSIONS", 1, at_least=1)
FILM_MEMORY_MB = integer("FILM_MEMORY_MB", 2048, at_least=512)
# Signs what is delivered (Content Credentials, C2PA). None: only the mark in XMP.
C2PA_SIGNER = signing_identity("C2PA_CERTIFICATES", "C2PA_PRIVATE_KEY")

# --- Images from users ------------------------------------------------------------------------

MAX_UPLOAD_BYTES = integer("MAX_UPLOAD_BYTES", 10_000_000, at_least=1_000)
MAX_UPLOAD_PIXELS = integer("MAX_UPLOAD_PIXELS", 50_000_000, at_least=1)
UPLOAD_HOURS = integer("UPLOAD_HOURS", 24, at_least=1)
# Storage of images that no job uses, for one user and for all users; 0: no limit.
UPLOADS_PER_USER = integer("UPLOADS_PER_USER", 200)
UPLOAD_BYTES_PER_USER = integer("UPLOAD_BYTES_PER_USER", 500_000_000)
UPLOAD_BYTES_IN_ALL = integer("UPLOAD_BYTES_IN_ALL", 50_000_000_000)
# Fetch images from other hosts; otherwise only uploads are accepted.
ALLOW_EXTERNAL_IMAGE_URLS = boolean("ALLOW_EXTERNAL_IMAGE_URLS", default=False)
CLAMAV_ADDRESS = tcp_address("CLAMAV_URL")
CLAMAV_TIMEOUT_SECONDS = integer("CLAMAV_TIMEOUT_SECONDS", 10, at_least=1)

# --- Images for trainings: generation/training ------------------------------------------------

# All files of one call.
MAX_TRAINING_UPLOAD_BYTES = integer("MAX_TRAINING_UPLOAD_BYTES", 40_000_000, at_least=1_000)
# What is not checked by then is for the next call; the phone waits for the response.
TRAINING_UPLOAD_SECONDS = integer("TRAINING_UPLOAD_SECONDS", 30, at_least=1)
TRAINING_SET_HOURS = integer("TRAINING_SET_HOURS", 72, at_least=1)
# After the end of the training; 0: at once.
TRAINING_KEEP_PICTURES_DAYS = integer("TRAINING_KEEP_PICTURES_DAYS", 0)
# Storage of sets that no running training uses, for one user and for all; 0: no limit.
TRAINING_SETS_PER_USER = integer("TRAINING_SETS_PER_USER", 10)
TRAINING_BYTES_PER_USER = integer("TRAINING_BYTES_PER_USER", 300_000_000)
TRAINING_BYTES_IN_ALL = integer("TRAINING_BYTES_IN_ALL", 50_000_000_000)
# Limits of a usable image; generation/training/picture_checks.py explains the measurements.
TRAINING_MIN_SIDE_PX = integer("TRAINING_MIN_SIDE_PX", 512, at_least=64)
TRAINING_MIN_SHARPNESS = integer("TRAINING_MIN_SHARPNESS", 40)
TRAINING_MIN_LUMINANCE = integer("TRAINING_MIN_LUMINANCE", 20, at_most=255)
TRAINING_MAX_LUMINANCE = integer("TRAINING_MAX_LUMINANCE", 240, at_most=255)
TRAINING_MAX_CLIPPED_PERCENT = integer("TRAINING_MAX_CLIPPED_PERCENT", 90, at_most=100)
# Of 64 bits: images that differ in no more are near-duplicates.
TRAINING_DUPLICATE_BITS = integer("TRAINING_DUPLICATE_BITS", 8, at_most=32)

# --- Moderation: generation/moderation --------------------------------------------------------

# Moderators that check prompts and images before anything is charged, in order.
MODERATION = choices_or_off("MODERATION", ("blocklist", "openai"))
# The decision if one of them is unavailable.
MODERATION_WHEN_UNREACHABLE = choice(
    "MODERATION_WHEN_UNREACHABLE", default="refuse", allowed=("allow", "refuse")
)
# Total time for one check. A storing worker must keep its lease.
MODERATION_TIMEOUT_SECONDS = integer("MODERATION_TIMEOUT_SECONDS", 4, at_least=1, at_most=5)
# Frames of each video that are checked before its owner sees it; 0: none. An image is checked
# whole.
MODERATION_OUTPUT_FRAMES = integer("MODERATION_OUTPUT_FRAMES", 0, at_most=5)
BLOCKLIST_CACHE_SECONDS = integer("BLOCKLIST_CACHE_SECONDS", 5)
# Refused inputs within the window that lead to each sanction; 0: never.
MODERATION_WINDOW_DAYS = integer("MODERATION_WINDOW_DAYS", 30, at_least=1, at_most=365)
MODERATION_WARN_AFTER = integer("MODERATION_WARN_AFTER", 3)
MODERATION_HOLD_AFTER = integer("MODERATION_HOLD_AFTER", 5)
MODERATION_BAN_AFTER = integer("MODERATION_BAN_AFTER", 10)
MODERATION_HOLD_HOURS = integer("MODERATION_HOLD_HOURS", 24, at_least=1)
_steps = [MODERATION_WARN_AFTER, MODERATION_HOLD_AFTER, MODERATION_BAN_AFTER]
if (_taken := [after for after in _steps if after]) != sorted(set(_taken)):
    add_problem("MODERATION_WARN_AFTER, MODERATION_HOLD_AFTER and MODERATION_BAN_AFTER must grow.")
OPENAI_URL = service_url("OPENAI_URL", "https://api.openai.com", sandbox="openai")
OPENAI_API_KEY = env.str("OPENAI_API_KEY", default="" if PRODUCTION else "sandbox-secret")
OPENAI_MODERATION_MODEL = env.str("OPENAI_MODERATION_MODEL", default="omni-moderation-latest")
# OpenAI's categories that are allowed, by OpenAI's names.
OPENAI_ALLOWED_CATEGORIES = env.list("OPENAI_ALLOWED_CATEGORIES", default=[])

# --- Media ------------------------------------------------------------------------------------

MEDIA_ROOT = env.str("MEDIA_ROOT", default=str(BASE_DIR / ".rendio" / "media"))
MEDIA_URL_TTL_SECONDS = integer("MEDIA_URL_TTL_SECONDS", 3600, at_least=1)
# boto3 finds the key itself: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the machine's role.
MEDIA_BUCKET = env.str("MEDIA_BUCKET", default="")
STORAGES = {
    "default": {
        "BACKEND": "generation.bucket.Bucket",
        "OPTIONS": {
            "bucket_name": MEDIA_BUCKET,
            "endpoint_url": http_url("MEDIA_S3_ENDPOINT_URL", "") or None,
            "region_name": env.str("MEDIA_S3_REGION", default="") or None,
            "signature_version": "s3v4",
            "default_acl": None,
            "file_overwrite": True,
            "querystring_expire": MEDIA_URL_TTL_SECONDS,
        },
    }
    if MEDIA_BUCKET
    else {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

UNFOLD = {
    "SITE_TITLE": "Rendio",
    "SITE_HEADER": "Rendio",
    "SITE_SYMBOL": "movie",
    # There is no page to return to: the API is for phones.
    "SITE_URL": None,
    "ENVIRONMENT": "adminops.admin.site.environment_label",
    "SIDEBAR": {"navigation": "adminops.admin.site.navigation"},
    "DASHBOARD_CALLBACK": "adminops.admin.operations.dashboards.overview",
    # Links on dark ground: a little lighter than its own, which has less than 4.5:1 there.
    "COLORS": {"primary": {"500": "oklch(66.5% .245 304.2)"}},
}

# Without duplicates: Django imports settings that failed a second time.
_problems = list(dict.fromkeys(problems))
if PRODUCTION:
    for _error in checks.find_errors(globals(), os.environ, invalid=problems):
        _problems.append(f"{_error.msg} ({_error.id})")
if _problems:
    _where = " in production" if PRODUCTION else ""
    raise ImproperlyConfigured(f"Rendio does not start{_where}:\n  " + "\n  ".join(_problems))
