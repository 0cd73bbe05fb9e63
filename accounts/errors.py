"""Refusals of accounts: devices, Sign in with Apple, consent."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from rendio.common.errors import Refusal


class InvalidDevice(Refusal):
    """Apple does not confirm the device's token, or the key that the device signs with.

    For the key, `app_attest` in the details tells the app what to do: "required" (sign),
    "unknown_key" (attest a new key), "refused" (ask for a new challenge, then repeat). `problem`
    "installation_unproven" means a wrong installation secret: the app registers a new installation.
    """

    code = "ERR_4012"
    type = "INVALID_DEVICE"
    status = 403
    message = _("This device could not be verified.")


class InvalidIdentity(Refusal):
    """Apple's identity token, nonce or authorization code proves no identity."""

    code = "ERR_4020"
    type = "INVALID_IDENTITY"
    status = 401
    message = _("Sign in with Apple could not be verified.")

    def __init__(self) -> None:
        super().__init__()
        self.headers["WWW-Authenticate"] = "Bearer"


class ConsentRequired(Refusal):
    """The user has not agreed, or agrees no longer, that data goes to `providers`."""

    code = "ERR_4021"
    type = "CONSENT_REQUIRED"
    status = 403
    message = _("Please agree to send your request to the AI providers.")
    example = {"providers": ["fal"]}


class IdentityServiceUnavailable(Refusal):
    """Apple did not answer, or refused to answer now. Nothing has changed at Apple."""

    code = "ERR_5004"
    type = "IDENTITY_SERVICE_UNAVAILABLE"
    status = 503
    message = _("Apple cannot be reached. Please try again in a moment.")


class AppleOutcomeUnknown(IdentityServiceUnavailable):
    """Apple did not answer, but may have executed the request."""
