"""docs/glossary.md has one term for each thing: names of the old vocabulary do not come back."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

from rendio.local.data_dir import PROJECT

# Name of an identifier, file or folder → the standard term. Only names without another meaning.
REPLACED = {
    "intake": "availability",
    "allot": "schedule_batch",
    "hopeless": "unroutable",
    "without_room": "no_capacity",
    "without_way": "no_route",
    "step_aside": "defer",
    "put_off_deadline": "extend_submit_deadline",
    "troubled": "record_failure",
    "ending_of": "outcome_for",
    "WHO_PAYS": "COST_RULES",
    "bury": "record (a dead letter)",
    "side_by_side": "run_concurrently",
    "hand_to_store": "transitions.to_store",
    "live_handles": "open_submissions",
    "repeated_order": "order_from_job",
    "read_order": "parse_order",
    "spec_of": "to_spec",
    "Allotted": "Batch",
    "cancel_unsent": "cancel_before_submit",
    "end_by_hand": "fail_manually",
    "is_taken_back": "is_cancel_requested",
    "LOST_LEASES": "MAX_LOST_LEASES",
    "SIGN_OF_LIFE": "HEARTBEAT_SECONDS",
    "Offence": "Violation",
    "OffenceAdmin": "ViolationAdmin",
    "strikes": "sanctions",
    "ClearedStrikes": "ClearedViolations",
    "clear_strikes": "clear_violations",
    "CLEAR_STRIKES": "CLEAR_VIOLATIONS",
    "forgive": "clear (violations)",
    "generation_per_user": "generation_minute_per_user",
    "draw_anew": "reencode",
    "Objection": "Flag",
    "Erasure": "AccountMediaDeletion",
    "Removal": "FileDeletion",
    "give_back": "reverse_clawback",
    "prolong": "extend_expiry",
    "milli_percent": "share",
    "normal_code": "normalize_code",
    "wallet_held": "export_wallet",
    "LedgerProof": "LedgerCheck",
    "HELD_BACK": "NEEDS_REVIEW",
    "unused_share": "unused_period_share",
    "locked_owner": "lock_owner",
    "is_to_wait": "requires_review",
    "TokenChange": "AppAccountTokenUpdate",
    "HistoryWalk": "BackfillCursor",
    "follow_tier": "sync_tier",
    "use_of": "lot_usage",
    "keep_answer": "save_response",
    "find_answer": "find_response",
    "lapse_expired": "expire_due_lots",
    "guardians": "parental_consent",
    "hold_account": "lock_open_account",
    "SpentToken": "UsedToken",
    "recognise": "link_person",
    "PHONE_GONE": "UNREGISTERED",
    "record_act": "log_action",
    "admitted": "authorize",
    "carry_out": "perform_or_request_approval",
    "act_id": "form_id",
    "why_not_alone": "approval_reason",
    "agreed_on": "find_approved_baseline",
    "RefusalsMiddleware": "ErrorLogMiddleware",
    "story_of": "timeline_link",
    "finding": "search",
    "nudge": "wake_workers",
    "until_done": "drain",
    "some_of": "choices_or_off",
    "several_of": "choices",
    "phones_calls": "exclude_legacy_prefix",
    "Watched": "SupervisedProcess",
    "Purse": "TestWallet",
    "purses": "wallet",
}
FOLDERS = ["rendio", "credits", "accounts", "generation", "billing", "adminops", "sandbox", "bench"]
FILES = [
    path
    for folder in [*FOLDERS, "tests"]
    for path in sorted((PROJECT / folder).rglob("*.py"))
    if "migrations" not in path.parts and path != Path(__file__)
]


def names_in(path: Path) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    folders = path.relative_to(PROJECT).with_suffix("").parts
    return {token.string for token in tokens if token.type == tokenize.NAME} | set(folders)


def test_no_name_of_the_old_vocabulary_is_used():
    found = [
        f"{path.relative_to(PROJECT)}: {name}; the standard term is {REPLACED[name]}"
        for path in FILES
        for name in sorted(names_in(path) & REPLACED.keys())
    ]

    assert found == [], "docs/glossary.md has the terms"
