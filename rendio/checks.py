"""System checks: settings that production must not start with. Each error names its variable."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.http.request import split_domain_port, validate_host

SHORTEST_SECRET = 32
# Setting → the environment variable that it is read from.
REQUIRED = {
    "FAL_USER_ID": "FAL_USER_ID",
    "APPLE_TEAM_ID": "APPLE_TEAM_ID",
    "DEVICECHECK_KEY_ID": "DEVICECHECK_KEY_ID",
    "DEVICECHECK_PRIVATE_KEY": "DEVICECHECK_PRIVATE_KEY",
    "APPLE_CLIENT_IDS": "APPLE_CLIENT_IDS",
    "SIGN_IN_KEY_ID": "SIGN_IN_KEY_ID",
    "SIGN_IN_PRIVATE_KEY": "SIGN_IN_PRIVATE_KEY",
    "APPSTORE_APP_ID": "APPSTORE_APP_ID",
    "APPSTORE_ISSUER_ID": "APPSTORE_ISSUER_ID",
    "APPSTORE_KEY_ID": "APPSTORE_KEY_ID",
    "APPSTORE_PRIVATE_KEY": "APPSTORE_PRIVATE_KEY",
    "ALLOWED_HOSTS": "ALLOWED_HOSTS",
}
HTTPS_URLS = (
    "FAL_BACKUP_URL",
    "FAL_JWKS_URL",
    "DEVICECHECK_URL",
    "APPLE_ISSUER",
    "APPLE_KEYS_URL",
    "APPLE_TOKEN_URL",
    "APPLE_REVOKE_URL",
    "APPSTORE_URL",
    "APPSTORE_SANDBOX_URL",
    "APNS_URL",
    "APNS_SANDBOX_URL",
    "OPENAI_URL",
    "OPENROUTER_URL",
    "PUBLIC_URL",
)


@register(Tags.security, deploy=True)
def check_production_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """For `manage.py check --deploy`. A production process checks the same before it starts."""
    values = {name: getattr(settings, name) for name in dir(settings)}
    return list(find_errors(values, os.environ))


def find_errors(
    values: Mapping[str, Any], environment: Mapping[str, str], *, invalid: Iterable[str] = ()
) -> list[CheckMessage]:
    """Errors of these settings in production; empty if it may start.

    `invalid` are problems that the environment's readers found: errors about the variables that
    they name are left out.
    """
    named = {_variable(problem) for problem in invalid}
    return [
        error for error in _all_errors(values, environment) if _variable(error.msg) not in named
    ]


def _variable(problem: str) -> str:
    """The variable that a problem begins with."""
    return problem.partition(" ")[0].rstrip(":,")


def _all_errors(values: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Error]:
    for name, variable in REQUIRED.items():
        if not values[name]:
            yield Error(f"{variable} is missing.", id="rendio.E001")
    for variable in ("DATABASE_URL", "REDIS_URL"):
        if not environment.get(variable):
            yield Error(f"{variable} is missing.", id="rendio.E001")
    if not values["PROVIDERS"]["fal"].keys:
        yield Error("FAL_KEY is missing (or FAL_KEYS, or FAL_KEYS_FILE).", id="rendio.E002")
    if "openai" in values["MODERATION"] and not values["OPENAI_API_KEY"]:
        yield Error("OPENAI_API_KEY is missing: MODERATION names openai.", id="rendio.E003")
    if values["OPENROUTER_MODELS"] and not values["OPENROUTER_API_KEY"]:
        problem = "OPENROUTER_API_KEY is missing: OPENROUTER_MODELS turns the prompt helper on."
        yield Error(problem, id="rendio.E007")
    apns = {name for name in ("APNS_KEY_ID", "APNS_PRIVATE_KEY") if values[name]}
    if len(apns) == 1:
        problem = f"{apns.pop()} is set without the other: APNS_KEY_ID, APNS_PRIVATE_KEY."
        yield Error(problem, id="rendio.E004")
    if values["ALERT_EMAILS"] and not environment.get("EMAIL_URL"):
        yield Error("EMAIL_URL is missing, and ALERT_EMAILS is set.", id="rendio.E005")
    yield from _secret_errors(values)
    yield from _proxy_errors(values)
    yield from _development_errors(values, environment)
    urls = {name: values[name] for name in HTTPS_URLS}
    for name, access in values["PROVIDERS"].items():
        if access.url or access.keys:
            urls[f"{name.upper()}_URL"] = access.url
        if access.keys and not access.media_hosts:
            problem = f"{name.upper()}_MEDIA_HOSTS is missing, and there is a key for {name}."
            yield Error(problem, id="rendio.E006")
    for name, url in urls.items():
        if not url.startswith("https://"):
            yield Error(f"{name} is not an https address.", id="rendio.E040")


def _secret_errors(values: Mapping[str, Any]) -> Iterator[Error]:
    """Secrets that are missing, short, or the default from the source."""
    insecure = values["INSECURE_SECRET"]
    if values["SECRET_KEY"] == insecure or len(values["SECRET_KEY"]) < SHORTEST_SECRET:
        problem = f"SECRET_KEY is missing or shorter than {SHORTEST_SECRET} characters."
        yield Error(problem, id="rendio.E010")
    if insecure in values["SESSION_SIGNING_KEYS"].values():
        yield Error("SESSION_SIGNING_KEYS is missing.", id="rendio.E011")
    if insecure in values["INSTALLATION_KEYS"].values():
        yield Error("INSTALLATION_KEYS is missing.", id="rendio.E012")
    if insecure in values["APPLE_TOKEN_KEYS"]:
        yield Error("APPLE_TOKEN_KEYS is missing.", id="rendio.E013")


def _proxy_errors(values: Mapping[str, Any]) -> Iterator[Error]:
    """PUBLIC_URL is https and the processes speak http: calls come through a proxy."""
    if "*" in values["ALLOWED_HOSTS"]:
        yield Error("ALLOWED_HOSTS allows every host.", id="rendio.E020")
    host = urlsplit(values["PUBLIC_URL"]).netloc.rpartition("@")[2]
    domain = split_domain_port(host)[0]
    if values["ALLOWED_HOSTS"] and not validate_host(domain, values["ALLOWED_HOSTS"]):
        problem = f"ALLOWED_HOSTS lacks {domain}, the host of PUBLIC_URL: calls to it are refused."
        yield Error(problem, id="rendio.E021")
    if not values["TRUSTED_PROXIES"]:
        problem = (
            "TRUSTED_PROXIES is 0: no one can sign in to the admin by https, and all callers share"
            " the limits for one address. Set it to the number of your proxies that a call passes,"
            " mostly 1."
        )
        yield Error(problem, id="rendio.E022")


def _development_errors(
    values: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[Error]:
    """Settings that are for development and tests only."""
    if values["DEBUG"]:
        yield Error("DEBUG is on.", id="rendio.E030")
    if not values["REQUIRE_SECOND_FACTOR"]:
        yield Error("REQUIRE_SECOND_FACTOR is off.", id="rendio.E031")
    if values["PLAYGROUND"] and not values["PLAYGROUND_IN_PRODUCTION"]:
        problem = "PLAYGROUND is on: everybody sees the page. PLAYGROUND_IN_PRODUCTION permits it."
        yield Error(problem, id="rendio.E036")
    if values["SANDBOX_URL"]:
        yield Error("SANDBOX_URL is set: the sandbox is for development.", id="rendio.E032")
    if values["APPSTORE_ROOT_CERTIFICATE"]:
        problem = "APPSTORE_ROOT_CERTIFICATE is set: only Apple's own root is trusted."
        yield Error(problem, id="rendio.E033")
    if values["APP_ATTEST_ROOT"]:
        problem = "APP_ATTEST_ROOT is set: only Apple's own root is trusted."
        yield Error(problem, id="rendio.E034")
    if embedded := environment.get("RENDIO_EMBEDDED"):
        problem = f"DATABASE_URL and REDIS_URL: {embedded} embedded; set both to real servers."
        yield Error(problem, id="rendio.E035")
