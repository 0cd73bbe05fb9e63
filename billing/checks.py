"""Django system checks of billing."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from billing.appstore import verifier


def check_apple_root_certificate(**_: Any) -> list[CheckMessage]:
    """Our copy of Apple's root certificate has Apple's fingerprint. Skipped for the sandbox's
    certificate.
    """
    if settings.APPSTORE_ROOT_CERTIFICATE:
        return []
    try:
        verifier.root_certificate()
    except verifier.WrongRoot as problem:
        return [Error(str(problem), id="billing.E001")]
    return []
