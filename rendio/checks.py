"""What production must not start with: each problem names the variable that has it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host

SHORTEST_SECRET = 32
# Setting → the environment variable that it is read from.
NEEDED = {
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
OUTSIDE = (
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
    "PUBLIC_URL",
)


def problems(
    settings: Mapping[str, Any], environment: Mapping[str, str], *, refused: Iterable[str] = ()
) -> list[str]:
    """All that is wrong with these settings for production, in words; empty when it may start.

    `refused` are problems that the environment's readers found: variables that they name are left
    out here.
    """
    named = {re.match(r"\w*", problem)[0] for problem in refused}  # type: ignore[index]
    found = _all_problems(settings, environment)
    return [problem for problem in found if re.match(r"\w*", problem)[0] not in named]  # type: ignore[index]


def _all_problems(settings: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    found = [f"{variable} is missing." for name, variable in NEEDED.items() if not settings[name]]
    if not settings["PROVIDERS"]["fal"].keys:
        found.append("FAL_KEY is missing (or FAL_KEYS, or FAL_KEYS_FILE).")
    if "openai" in settings["MODERATION"] and not settings["OPENAI_API_KEY"]:
        found.append("OPENAI_API_KEY is missing: MODERATION names openai.")
    apns = {name for name in ("APNS_KEY_ID", "APNS_PRIVATE_KEY") if settings[name]}
    if len(apns) == 1:
        found.append(f"{apns.pop()} is set without the other: APNS_KEY_ID, APNS_PRIVATE_KEY.")
    insecure = settings["INSECURE_SECRET"]
    if settings["SECRET_KEY"] == insecure or len(settings["SECRET_KEY"]) < SHORTEST_SECRET:
        found.append(f"SECRET_KEY is missing or shorter than {SHORTEST_SECRET} characters.")
    if insecure in settings["SESSION_SIGNING_KEYS"].values():
        found.append("SESSION_SIGNING_KEYS is missing.")
    if insecure in settings["INSTALLATION_KEYS"].values():
        found.append("INSTALLATION_KEYS is missing.")
    if insecure in settings["APPLE_TOKEN_KEYS"]:
        found.append("APPLE_TOKEN_KEYS is missing.")
    found += [
        f"{variable} is missing."
        for variable in ("DATABASE_URL", "REDIS_URL")
        if not environment.get(variable)
    ]
    if settings["DEBUG"]:
        found.append("DEBUG is on.")
    if not settings["REQUIRE_SECOND_FACTOR"]:
        found.append("REQUIRE_SECOND_FACTOR is off.")
    if "*" in settings["ALLOWED_HOSTS"]:
        found.append("ALLOWED_HOSTS lets every host in.")
    found += _problems_of_the_way_in(settings)
    if settings["SANDBOX_URL"]:
        found.append("SANDBOX_URL is set: the sandbox is for development.")
    if settings["APPSTORE_ROOT_CERTIFICATE"]:
        found.append("APPSTORE_ROOT_CERTIFICATE is set: only Apple's own root is trusted.")
    if settings["APP_ATTEST_ROOT"]:
        found.append("APP_ATTEST_ROOT is set: no other root than Apple's vouches for devices.")
    if settings["ALERT_EMAILS"] and not environment.get("EMAIL_URL"):
        found.append("EMAIL_URL is missing, and ALERT_EMAILS is set.")
    if embedded := environment.get("RENDIO_EMBEDDED"):
        found.append(f"DATABASE_URL and REDIS_URL: {embedded} embedded; set both to real servers.")
    found += [
        f"{name} is not an https address."
        for name in OUTSIDE
        if not settings[name].startswith("https://")
    ]
    found += [
        f"{name.upper()}_URL is not an https address."
        for name, access in settings["PROVIDERS"].items()
        if not access.url.startswith("https://")
    ]
    return found


def _problems_of_the_way_in(settings: Mapping[str, Any]) -> list[str]:
    """PUBLIC_URL is https, and the processes speak http: a proxy is between, or nobody can come."""
    found = []
    host = urlsplit(settings["PUBLIC_URL"]).netloc.rpartition("@")[2]
    domain = split_domain_port(host)[0]
    if settings["ALLOWED_HOSTS"] and not validate_host(domain, settings["ALLOWED_HOSTS"]):
        found.append(
            f"ALLOWED_HOSTS lacks {domain}, the host of PUBLIC_URL: calls to it are refused."
        )
    if not settings["TRUSTED_PROXIES"]:
        found.append(
            "TRUSTED_PROXIES is 0: nobody can sign in to the admin by https, and all callers share"
            " the limits for one address. Set it to the number of your proxies that a call passes,"
            " mostly 1."
        )
    return found
