"""What identity refuses."""

from __future__ import annotations

from credits.errors import AccountSuspended
from rendio.common.errors import Code, Forbidden, InvalidInput, Refusal, Unauthorized

__all__ = [
    "AccountSuspended",
    "AppleOutcomeUnknown",
    "ConsentRequired",
    "Forbidden",
    "IdentityServiceUnavailable",
    "InvalidDevice",
    "InvalidIdentity",
    "InvalidInput",
    "InvalidState",
    "Unauthorized",
]


class InvalidDevice(Refusal):
    """Apple does not vouch for the device: for its token, or for the key that it signs with.

    For the latter, `app_attest` in the details tells the app what to do: "required" (sign),
    "unknown_key" (attest a new key), "refused" (ask for a new challenge, then the same). With
    `problem` "installation_unproven" the secret is not the installation's: the app starts anew.
    """

    code = Code.INVALID_DEVICE


class ConsentRequired(Refusal):
    """The user has not agreed (any more) that data goes to `providers`."""

    code = Code.CONSENT_REQUIRED


class IdentityServiceUnavailable(Refusal):
    """Apple was not reached, or would not answer now; nothing has changed there."""

    code = Code.IDENTITY_SERVICE_UNAVAILABLE


class AppleOutcomeUnknown(IdentityServiceUnavailable):
    """The same to the client, but what we asked for may have been done."""


class InvalidIdentity(Refusal):
    """Apple's token, nonce or code does not prove who somebody is."""

    code = Code.INVALID_IDENTITY

    def __init__(self) -> None:
        super().__init__()
        self.headers["WWW-Authenticate"] = "Bearer"


class InvalidState(Refusal):
    """The caller has an account already, and it is another one."""

    code = Code.INVALID_STATE
