"""Every change of users, devices and sessions, by topic."""

from __future__ import annotations

from accounts.services.apple import SignedIn, sign_in_with_apple
from accounts.services.apple_account_events import receive_apple_notice
from accounts.services.attestation import (
    SignedCall,
    attest_device,
    issue_challenge,
    sweep_unused_keys,
)
from accounts.services.consents import record_consent
from accounts.services.deletion import delete_account, revoke_due_at_apple
from accounts.services.devices import CheckedDevice, Gate, check_device
from accounts.services.hardware_bans import set_due_bits, sweep_tokens
from accounts.services.installations import BATCH as PUBLIC_IDS_BATCH
from accounts.services.installations import InstallationProof, fill_public_ids, find_proven
from accounts.services.push_tokens import register_push_token, unregister_push_token
from accounts.services.related_users import KeyOf, recognise, sweep_person_keys
from accounts.services.sessions import (
    IssuedSession,
    find_session_of_refresh,
    log_out,
    refresh_session,
    revoke_device,
    revoke_session,
    revoke_sessions_of,
    sweep_sessions,
    sweep_spent_tokens,
)
from accounts.services.users import (
    ban_user,
    ensure_staff,
    set_tier,
    sign_out_everywhere,
    unban_user,
    update_profile,
)
from accounts.services.welcome import give_due_welcomes, sweep_claims

__all__ = [
    "PUBLIC_IDS_BATCH",
    "CheckedDevice",
    "Gate",
    "InstallationProof",
    "IssuedSession",
    "KeyOf",
    "SignedCall",
    "SignedIn",
    "attest_device",
    "ban_user",
    "check_device",
    "delete_account",
    "ensure_staff",
    "fill_public_ids",
    "find_proven",
    "find_session_of_refresh",
    "give_due_welcomes",
    "issue_challenge",
    "log_out",
    "receive_apple_notice",
    "recognise",
    "record_consent",
    "refresh_session",
    "register_push_token",
    "revoke_device",
    "revoke_due_at_apple",
    "revoke_session",
    "revoke_sessions_of",
    "set_due_bits",
    "set_tier",
    "sign_in_with_apple",
    "sign_out_everywhere",
    "sweep_claims",
    "sweep_person_keys",
    "sweep_sessions",
    "sweep_spent_tokens",
    "sweep_tokens",
    "sweep_unused_keys",
    "unban_user",
    "unregister_push_token",
    "update_profile",
]
