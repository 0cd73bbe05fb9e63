"""Every write of users, devices and sessions, by topic."""

from __future__ import annotations

from accounts.services.apple_account_events import receive_event
from accounts.services.apple_sign_in import SignedIn, sign_in_with_apple
from accounts.services.attestation import (
    AssertedCall,
    attest_device,
    issue_challenge,
    purge_unused_keys,
)
from accounts.services.consents import record_consent
from accounts.services.deletion import delete_account
from accounts.services.devices import CheckedDevice, CheckLimiter, check_device
from accounts.services.hardware_bans import purge_device_tokens
from accounts.services.installations import BATCH as PUBLIC_IDS_BATCH
from accounts.services.installations import InstallationProof, fill_public_ids, find_proven_device
from accounts.services.push_tokens import register_push_token, unregister_push_token
from accounts.services.related_users import PersonKeyKind, link_person, purge_person_keys
from accounts.services.sessions import (
    IssuedSession,
    find_session_by_refresh_token,
    log_out,
    purge_sessions,
    purge_used_tokens,
    refresh_session,
    revoke_device,
    revoke_session,
    revoke_user_sessions,
)
from accounts.services.users import (
    ban_user,
    ensure_staff,
    set_tier,
    sign_out_everywhere,
    unban_user,
    update_profile,
)
from accounts.services.welcome import purge_claims

__all__ = [
    "PUBLIC_IDS_BATCH",
    "AssertedCall",
    "CheckLimiter",
    "CheckedDevice",
    "InstallationProof",
    "IssuedSession",
    "PersonKeyKind",
    "SignedIn",
    "attest_device",
    "ban_user",
    "check_device",
    "delete_account",
    "ensure_staff",
    "fill_public_ids",
    "find_proven_device",
    "find_session_by_refresh_token",
    "issue_challenge",
    "link_person",
    "log_out",
    "purge_claims",
    "purge_device_tokens",
    "purge_person_keys",
    "purge_sessions",
    "purge_unused_keys",
    "purge_used_tokens",
    "receive_event",
    "record_consent",
    "refresh_session",
    "register_push_token",
    "revoke_device",
    "revoke_session",
    "revoke_user_sessions",
    "set_tier",
    "sign_in_with_apple",
    "sign_out_everywhere",
    "unban_user",
    "unregister_push_token",
    "update_profile",
]
