"""Every table of the database: who adds rows, the bound, and the function that deletes rows.

A table that a caller can fill without limit lets an attacker cause an outage. So each model has an
entry here; tests/test_growth.py fails for a model without one. docs/growth.md has the same table.

Deletions by `rendio.common.purge` run every minute and repeat while batches are full, about 100,000
rows of a table a minute: more than callers can add under the rate limits.
"""

from __future__ import annotations

from dataclasses import dataclass

GUEST = "a guest or user"
ADDRESS = "anybody, by address"
STAFF = "staff"
OPERATOR = "our own processes"


@dataclass(frozen=True)
class Growth:
    """How one table grows."""

    by: str
    # The rows and their maximum, by names of settings or constants.
    bound: str
    # The function that deletes rows, as module:function; else the reason why rows are kept.
    deleted_by: str = ""
    kept: str = ""
    # The test of the bound, below tests/.
    test: str = ""


_SWEEP_GENERATION = "generation.cleanup:purge_expired"
_MONEY = "the record of payments and credits is never deleted"
_SMALL = "a few rows, changed by releases and staff only"
_AUDIT = "the audit log is never deleted"
_ATTACK = "attacks/test_a_table_filled_without_end.py::"

TABLES: dict[str, Growth] = {
    # --- Accounts
    "accounts.User": Growth(
        ADDRESS,
        "a guest for each new installation, of hardware that Apple vouches for: one of hardware"
        " that is new, RATE_LIMIT_REINSTALL_PER_HOUR of an address of hardware that is not",
        kept="payments and credits refer to it; an account deletion empties it",
        test="accounts/test_launch_day.py::test_one_iphone_makes_no_more_guests_than_the_limit",
    ),
    "accounts.Device": Growth(
        ADDRESS,
        "as accounts.User; of one user MAX_DEVICES",
        kept="it says which installation has had its welcome; a deletion of its account deletes it",
        test=_ATTACK + "test_an_account_has_no_more_devices_than_the_most",
    ),
    "accounts.Session": Growth(
        ADDRESS,
        "one for each device check and sign-in, live for REFRESH_TOKEN_DAYS; of one user"
        " MAX_SESSIONS live ones",
        deleted_by="accounts.services.sessions:purge_sessions",
        test=_ATTACK + "test_a_user_has_no_more_live_sessions_than_the_most",
    ),
    "accounts.WelcomeClaim": Growth(
        ADDRESS,
        "one for each device check of a new installation on hardware without a welcome, as"
        " accounts.User",
        deleted_by="accounts.services.welcome:purge_claims",
        test="accounts/test_welcome_races.py::test_a_claim_that_led_to_nothing_is_swept",
    ),
    "accounts.WelcomeTurn": Growth(OPERATOR, "one row", kept=_SMALL),
    "accounts.BanBit": Growth(
        ADDRESS,
        "one for each device, with its latest token for DEVICE_TOKEN_HOURS; longer where an unban"
        " waits for the phone",
        deleted_by="accounts.services.hardware_bans:purge_device_tokens",
        test="attacks/test_a_fresh_start_after_a_ban.py"
        "::test_tokens_are_kept_for_a_ban_as_long_as_set",
    ),
    "accounts.PersonKey": Growth(
        GUEST,
        "one for each user and Apple account that signs in or buys",
        deleted_by="accounts.services.related_users:purge_person_keys",
        test="accounts/test_persons.py::test_keys_go_when_nothing_counts_any_more",
    ),
    "accounts.AttestedKey": Growth(
        ADDRESS,
        "one for each genuine attestation, RATE_LIMIT_ATTEST_PER_HOUR of an address; of one"
        " installation MAX_KEYS, for a day where no device check uses them",
        deleted_by="accounts.services.attestation:purge_unused_keys",
        test="accounts/test_launch_day.py::test_keys_that_no_device_check_uses_go_after_a_day",
    ),
    "accounts.UsedToken": Growth(
        ADDRESS,
        "one for each challenge that was answered, identity token that was signed in with and"
        " notice of Apple's; forgeries add none",
        deleted_by="accounts.services.sessions:purge_used_tokens",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "accounts.Consent": Growth(
        GUEST,
        "RATE_LIMIT_CONSENTS_PER_HOUR of a user; of a user and kind MAX_RECORDS, and those that"
        " decide about one of MAX_PROVIDERS",
        deleted_by="accounts.services.consents:record_consent",
        test=_ATTACK + "test_consents_beyond_the_most_are_forgotten_unless_they_decide",
    ),
    "accounts.AppleIdentity": Growth(
        GUEST,
        "one for each Apple account that signs in, RATE_LIMIT_SIGN_IN_PER_HOUR of a user",
        deleted_by="accounts.services.deletion:delete_account",
    ),
    "accounts.AppleRevocation": Growth(
        GUEST,
        "one for each deletion of an account",
        deleted_by="accounts.services.deletion:revoke_apple_token",
    ),
    "accounts.PushToken": Growth(
        GUEST,
        "of one user MAX_PUSH_TOKENS",
        deleted_by="accounts.services.push_tokens:register_push_token",
        test="accounts/test_push_tokens.py::test_of_many_phones_the_latest_are_kept",
    ),
    "accounts.Push": Growth(
        GUEST,
        "one for each end of a job and phone of the user, of which there are MAX_PUSH_TOKENS",
        deleted_by="accounts.push.outbox:purge_pushes",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "accounts.ProviderToken": Growth(OPERATOR, "one for each of our keys at Apple", kept=_SMALL),
    "accounts.User_groups": Growth(STAFF, "roles of staff", kept=_SMALL),
    "accounts.User_user_permissions": Growth(STAFF, "none are given", kept=_SMALL),
    # --- Money
    "credits.Wallet": Growth(ADDRESS, "one for each accounts.User", kept=_MONEY),
    "credits.Lot": Growth(
        GUEST, "one for each welcome grant, purchase, code or grant by staff", kept=_MONEY
    ),
    "credits.LedgerEntry": Growth(
        GUEST,
        "at most two for each job, one for each grant; RATE_LIMIT_GENERATION_PER_DAY of a user",
        kept=_MONEY,
        test=_ATTACK + "test_orders_of_a_user_are_limited_by_the_day",
    ),
    "credits.PromotionCode": Growth(STAFF, "codes created by staff", kept=_MONEY),
    "credits.Redemption": Growth(
        GUEST, "the limit of each code; RATE_LIMIT_REDEEM_PER_MINUTE of a user", kept=_MONEY
    ),
    "credits.LedgerCheck": Growth(OPERATOR, "one row", kept=_SMALL),
    "credits.IdempotencyRecord": Growth(
        GUEST,
        "one for each order and purchase that succeeded, for IDEMPOTENCY_KEY_HOURS",
        deleted_by="credits.idempotency:purge_expired",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    # --- Generations
    "generation.Job": Growth(
        GUEST,
        "paid orders: RATE_LIMIT_GENERATION_PER_HOUR and RATE_LIMIT_GENERATION_PER_DAY of a user",
        kept="payments and credits refer to it; an account deletion empties it",
        test=_ATTACK + "test_orders_of_a_user_are_limited_by_the_day",
    ),
    "generation.ProviderRequest": Growth(
        GUEST, "of each job one for each route of its model", kept="it says what a job cost us"
    ),
    "generation.Quote": Growth(
        GUEST,
        "RATE_LIMIT_QUOTES_PER_MINUTE of a user, for QUOTE_SECONDS",
        deleted_by=_SWEEP_GENERATION,
        test=_ATTACK + "test_quotes_of_a_user_have_a_limit_of_their_own",
    ),
    "generation.Upload": Growth(
        GUEST,
        "RATE_LIMIT_UPLOADS_PER_HOUR of a user for UPLOAD_HOURS, of a user UPLOADS_PER_USER and"
        " UPLOAD_BYTES_PER_USER, of all UPLOAD_BYTES_IN_ALL; those that a job keeps go with it",
        deleted_by="generation.cleanup:delete_due_files",
        test=_ATTACK + "test_a_user_stores_no_more_pictures_than_allowed",
    ),
    "generation.FileDeletion": Growth(
        GUEST,
        "one for each picture that is stored or goes, each form of a direct upload, and each"
        " attempt at keeping a result, for two hours at most",
        deleted_by="generation.cleanup:delete_due_files",
    ),
    "generation.AccountMediaDeletion": Growth(
        GUEST,
        "one for each job of a deleted account",
        deleted_by="generation.cleanup:delete_account_media_due",
    ),
    "generation.Violation": Growth(
        GUEST,
        "one for each order that moderation refused; MODERATION_BAN_AFTER of them end the account",
        deleted_by=_SWEEP_GENERATION,
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "generation.WebhookDelivery": Growth(
        "callers with a provider's signature",
        "one for each genuine call, known job or not, of MAX_BODY_CHARS characters; forgeries add"
        " none",
        deleted_by=_SWEEP_GENERATION,
        test=_ATTACK + "test_of_a_webhooks_body_no_more_than_the_most_is_kept",
    ),
    "generation.DeadLetter": Growth(
        OPERATOR,
        "one open letter for each task, job, result or delivery that failed for good",
        deleted_by=_SWEEP_GENERATION,
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "generation.GenerationModel": Growth(STAFF, "the catalogue", kept=_SMALL),
    "generation.ProviderRoute": Growth(STAFF, "the catalogue", kept=_SMALL),
    "generation.Theme": Growth(STAFF, "the catalogue", kept=_SMALL),
    "generation.BlockedTerm": Growth(STAFF, "the list of terms", kept=_SMALL),
    "generation.Maintenance": Growth(OPERATOR, "one row", kept=_SMALL),
    "generation.ProviderHealth": Growth(OPERATOR, "one for each provider's key", kept=_SMALL),
    "generation.SpendDay": Growth(OPERATOR, "one for each provider and day", kept=_SMALL),
    # --- Purchases
    "billing.Purchase": Growth(
        "paying customers", "one for each transaction that Apple signed", kept=_MONEY
    ),
    "billing.Subscription": Growth(
        "paying customers", "one for each subscription that Apple signed", kept=_MONEY
    ),
    "billing.UnconfirmedPurchase": Growth(
        GUEST,
        "while Apple is unavailable; of a user MAX_UNCONFIRMED",
        deleted_by="billing.lifecycle.purchases:confirm_purchase",
        test=_ATTACK + "test_a_user_has_no_more_unconfirmed_purchases_than_the_most",
    ),
    "billing.UnreadablePayload": Growth(
        "Apple",
        "one for each payload that Apple signed for us and we cannot read, by its id or hash;"
        " forgeries add none; MAX_OPEN that are open",
        deleted_by="billing.tasks:purge",
        test="billing/test_unreadable.py::test_rows_are_bounded",
    ),
    "billing.AppAccountTokenUpdate": Growth(
        "paying customers",
        "one for each subscription of a guest that was merged",
        deleted_by="billing.lifecycle.purchases:update_account_token",
    ),
    "billing.Notification": Growth(
        "Apple",
        "one for each genuine notification, by its UUID; forgeries add none",
        deleted_by="billing.tasks:purge",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "billing.ConsumptionRequest": Growth(
        "paying customers", "one for each refund request of a purchase", kept=_MONEY
    ),
    "billing.FraudScore": Growth("paying customers", "one for each user who bought", kept=_MONEY),
    "billing.WithdrawnConsent": Growth(
        "Apple",
        "one for each family whose consent was withdrawn",
        kept="the withdrawal stays in force",
    ),
    "billing.Product": Growth(STAFF, "the catalogue", kept=_SMALL),
    "billing.BackfillCursor": Growth(OPERATOR, "two for each of Apple's environments", kept=_SMALL),
    # --- Support and watch
    "adminops.ErrorLog": Growth(
        ADDRESS,
        "ERROR_LOG_PER_MINUTE of each code and process, for ERROR_LOG_DAYS, ERROR_LOG_ROWS in all",
        deleted_by="adminops.monitoring.error_log:purge",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "adminops.AuditLogEntry": Growth(STAFF, "actions of staff", kept=_AUDIT),
    "adminops.PendingApproval": Growth(STAFF, "actions that need an approval", kept=_AUDIT),
    "adminops.Incident": Growth(STAFF, "incidents", kept=_AUDIT),
    "adminops.Alert": Growth(
        OPERATOR,
        "one for each alert and period",
        deleted_by="adminops.monitoring.alerts:purge",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "adminops.Heartbeat": Growth(
        OPERATOR,
        "one for each process and role",
        deleted_by="adminops.monitoring.heartbeats:purge",
    ),
    "adminops.CountedDay": Growth(OPERATOR, "one for each day", kept=_SMALL),
    "adminops.JobDay": Growth(
        OPERATOR, "one for each day, model, route and kind of end", kept=_SMALL
    ),
    "adminops.CreditDay": Growth(OPERATOR, "one for each day and flow of credits", kept=_SMALL),
    "adminops.SaleDay": Growth(OPERATOR, "one for each day and currency", kept=_SMALL),
    # --- Of Django and libraries
    "admin.LogEntry": Growth(STAFF, "forms that staff saved", kept=_AUDIT),
    "auth.Permission": Growth(OPERATOR, "made by migrations", kept=_SMALL),
    "auth.Group": Growth(OPERATOR, "the staff's roles", kept=_SMALL),
    "auth.Group_permissions": Growth(OPERATOR, "the staff's roles", kept=_SMALL),
    "contenttypes.ContentType": Growth(OPERATOR, "one for each table", kept=_SMALL),
    "sessions.Session": Growth(
        STAFF,
        "one for each sign-in to the staff's pages, for SESSION_COOKIE_AGE",
        deleted_by="adminops.auth.login:purge_sessions",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "axes.AccessAttempt": Growth(
        ADDRESS,
        "one for each name that failed to sign in from an address, STAFF_LOGIN_RATE of an address,"
        " for STAFF_LOGIN_LOCKOUT_MINUTES",
        deleted_by="adminops.auth.login:purge_attempts",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "axes.AccessAttemptExpiration": Growth(OPERATOR, "none: switched off", kept=_SMALL),
    "axes.AccessFailureLog": Growth(OPERATOR, "none: switched off", kept=_SMALL),
    "axes.AccessLog": Growth(OPERATOR, "none: switched off", kept=_SMALL),
    "otp_static.StaticDevice": Growth(STAFF, "one for each member of staff", kept=_SMALL),
    "otp_static.StaticToken": Growth(STAFF, "recovery codes, ten for each", kept=_SMALL),
    "otp_totp.TOTPDevice": Growth(STAFF, "one for each member of staff", kept=_SMALL),
}


def as_table() -> str:
    """The table of docs/growth.md."""
    lines = ["| table | grown by | bound | deleted by |", "|---|---|---|---|"]
    for name, growth in TABLES.items():
        end = f"`{growth.deleted_by}`" if growth.deleted_by else f"nothing: {growth.kept}"
        shown = f" (`{growth.test}`)" if growth.test else ""
        lines.append(f"| `{name}` | {growth.by} | {growth.bound}{shown} | {end} |")
    return "\n".join(lines)
