"""Every table of the database: who adds rows, the bound, and the function that deletes rows.

A table that a caller can fill without limit lets an attacker cause an outage. So each model has an
entry here; tests/test_growth.py fails for a model without one. docs/growth.md has the same table.

Deletions by `rendio.common.background.purge` run every minute and repeat while batches are full,
about 100,000 rows of a table a minute: more than callers can add under the rate limits.
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


_PURGE_GENERATION = "generation.cleanup:purge_expired"
_MONEY = "the record of payments and credits is never deleted"
_SMALL = "a few rows, changed by releases and staff only"
_AUDIT = "the audit log is never deleted"
_ATTACK = "attacks/test_a_table_filled_without_end.py::"

TABLES: dict[str, Growth] = {
    # --- Accounts
    "accounts.User": Growth(
        ADDRESS,
        "one guest per new installation on hardware that Apple confirms: one per new piece of"
        " hardware, RATE_LIMIT_REINSTALL_PER_HOUR per address for known hardware",
        kept="payments and credits refer to the row; an account deletion erases its personal data",
        test="accounts/test_launch_day.py::test_one_iphone_makes_no_more_guests_than_the_limit",
    ),
    "accounts.Device": Growth(
        ADDRESS,
        "as accounts.User; MAX_DEVICES per user",
        kept="the row shows that its installation had a welcome; an account deletion deletes it",
        test=_ATTACK + "test_an_account_has_no_more_devices_than_the_most",
    ),
    "accounts.Session": Growth(
        ADDRESS,
        "one per device check and sign-in, live for REFRESH_TOKEN_DAYS; MAX_SESSIONS live ones per"
        " user",
        deleted_by="accounts.services.sessions:purge_sessions",
        test=_ATTACK + "test_a_user_has_no_more_live_sessions_than_the_most",
    ),
    "accounts.WelcomeClaim": Growth(
        ADDRESS,
        "one per device check of a new installation on hardware without a welcome, as"
        " accounts.User",
        deleted_by="accounts.services.welcome:purge_claims",
        test="accounts/test_welcome_races.py::test_a_claim_that_led_to_nothing_is_swept",
    ),
    "accounts.WelcomeTurn": Growth(OPERATOR, "one row", kept=_SMALL),
    "accounts.BanBit": Growth(
        ADDRESS,
        "one per device, with its latest token for DEVICE_TOKEN_HOURS; longer while an unban waits"
        " for the phone",
        deleted_by="accounts.services.hardware_bans:purge_device_tokens",
        test="attacks/test_a_fresh_start_after_a_ban.py"
        "::test_tokens_are_kept_for_a_ban_as_long_as_set",
    ),
    "accounts.PersonKey": Growth(
        GUEST,
        "one per user and Apple account that signs in or buys",
        deleted_by="accounts.services.related_users:purge_person_keys",
        test="accounts/test_persons.py::test_keys_go_when_nothing_counts_any_more",
    ),
    "accounts.AttestedKey": Growth(
        ADDRESS,
        "one per genuine attestation, RATE_LIMIT_ATTEST_PER_HOUR per address; MAX_KEYS per"
        " installation, for a day if no device check uses them",
        deleted_by="accounts.services.attestation:purge_unused_keys",
        test="accounts/test_launch_day.py::test_keys_that_no_device_check_uses_go_after_a_day",
    ),
    "accounts.UsedToken": Growth(
        ADDRESS,
        "one per answered challenge, used identity token and Apple account event; forgeries add"
        " none",
        deleted_by="accounts.services.sessions:purge_used_tokens",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "accounts.Consent": Growth(
        GUEST,
        "RATE_LIMIT_CONSENTS_PER_HOUR per user; MAX_RECORDS per user and kind, and the latest about"
        " each of MAX_PROVIDERS",
        deleted_by="accounts.services.consents:record_consent",
        test=_ATTACK + "test_consents_beyond_the_most_are_forgotten_unless_they_decide",
    ),
    "accounts.AppleIdentity": Growth(
        GUEST,
        "one per Apple account that signs in, RATE_LIMIT_SIGN_IN_PER_HOUR per user",
        deleted_by="accounts.services.deletion:delete_account",
    ),
    "accounts.AppleRevocation": Growth(
        GUEST,
        "one per account deletion",
        deleted_by="accounts.services.deletion:revoke_apple_token",
    ),
    "accounts.PushToken": Growth(
        GUEST,
        "MAX_PUSH_TOKENS per user",
        deleted_by="accounts.services.push_tokens:register_push_token",
        test="accounts/test_push_tokens.py::test_of_many_phones_the_latest_are_kept",
    ),
    "accounts.Push": Growth(
        GUEST,
        "one per ended job and phone of the user, who has at most MAX_PUSH_TOKENS phones",
        deleted_by="accounts.push.outbox:purge_pushes",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "accounts.ProviderToken": Growth(OPERATOR, "one per APNs key", kept=_SMALL),
    "accounts.User_groups": Growth(STAFF, "roles of staff", kept=_SMALL),
    "accounts.User_user_permissions": Growth(
        STAFF, "none: permissions come from roles", kept=_SMALL
    ),
    # --- Money
    "credits.Wallet": Growth(ADDRESS, "one per accounts.User", kept=_MONEY),
    "credits.Lot": Growth(
        GUEST, "one per welcome grant, purchase, redeemed code or grant by staff", kept=_MONEY
    ),
    "credits.LedgerEntry": Growth(
        GUEST,
        "at most two per job, one per grant; RATE_LIMIT_GENERATION_PER_DAY per user",
        kept=_MONEY,
        test=_ATTACK + "test_orders_of_a_user_are_limited_by_the_day",
    ),
    "credits.PromotionCode": Growth(STAFF, "codes created by staff", kept=_MONEY),
    "credits.Redemption": Growth(
        GUEST, "the limit of each code; RATE_LIMIT_REDEEM_PER_MINUTE per user", kept=_MONEY
    ),
    "credits.LedgerCheck": Growth(OPERATOR, "one row", kept=_SMALL),
    "credits.IdempotencyRecord": Growth(
        GUEST,
        "one per order and purchase that succeeded, for IDEMPOTENCY_KEY_HOURS",
        deleted_by="credits.idempotency:purge_expired",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    # --- Generations
    "generation.Job": Growth(
        GUEST,
        "paid orders: RATE_LIMIT_GENERATION_PER_HOUR and RATE_LIMIT_GENERATION_PER_DAY per user",
        kept="payments and credits refer to the row; an account deletion erases its personal data",
        test=_ATTACK + "test_orders_of_a_user_are_limited_by_the_day",
    ),
    "generation.ProviderRequest": Growth(
        GUEST, "one per job and route of its model", kept="the row records the cost of a job"
    ),
    "generation.Quote": Growth(
        GUEST,
        "RATE_LIMIT_QUOTES_PER_MINUTE per user, for QUOTE_SECONDS",
        deleted_by=_PURGE_GENERATION,
        test=_ATTACK + "test_quotes_of_a_user_have_a_limit_of_their_own",
    ),
    "generation.Upload": Growth(
        GUEST,
        "RATE_LIMIT_UPLOADS_PER_HOUR per user for UPLOAD_HOURS; UPLOADS_PER_USER and"
        " UPLOAD_BYTES_PER_USER per user, UPLOAD_BYTES_IN_ALL in total; uploads of a job are"
        " deleted with the job",
        deleted_by="generation.cleanup:delete_due_files",
        test=_ATTACK + "test_a_user_stores_no_more_pictures_than_allowed",
    ),
    "generation.FileDeletion": Growth(
        GUEST,
        "one per image being stored or deleted, per form of a direct upload, and per attempt to"
        " store a result, for two hours at most",
        deleted_by="generation.cleanup:delete_due_files",
    ),
    "generation.AccountMediaDeletion": Growth(
        GUEST,
        "one per job of a deleted account",
        deleted_by="generation.cleanup:delete_account_media_due",
    ),
    "generation.TrainingSet": Growth(
        GUEST,
        "RATE_LIMIT_TRAINING_UPLOADS_PER_HOUR per user for TRAINING_SET_HOURS,"
        " TRAINING_SETS_PER_USER per user; sets of a training are deleted after its end",
        deleted_by="generation.training.deletion:delete_due_sets",
        test="generation/uploads/test_training_pictures.py"
        "::test_a_user_stores_so_many_sets_and_bytes",
    ),
    "generation.TrainingPicture": Growth(
        GUEST,
        "twice MAX_PICTURES per generation.TrainingSet; TRAINING_BYTES_PER_USER per user,"
        " TRAINING_BYTES_IN_ALL in total",
        deleted_by="generation.training.deletion:delete_due_sets",
        test="generation/uploads/test_training_pictures.py"
        "::test_a_user_stores_so_many_sets_and_bytes",
    ),
    "generation.TrainedModel": Growth(
        GUEST,
        "one per paid training; a deletion erases its texts and files",
        kept="the row belongs to a job, which payments and credits refer to",
        test="generation/training/test_deletion.py::test_an_owner_deletes_a_model",
    ),
    "generation.TrainingConsent": Growth(
        GUEST,
        "one per paid training of a model of a person",
        deleted_by="generation.receivers:delete_user_data",
        test="generation/training/test_deletion.py"
        "::test_an_account_deletion_deletes_models_here_and_at_the_provider",
    ),
    "generation.ProviderModelDeletion": Growth(
        GUEST,
        "one per submission of a training that failed or whose model is deleted, until the provider"
        " has deleted its copy",
        deleted_by="generation.training.deletion:delete_provider_model",
        test="generation/training/test_deletion.py"
        "::test_a_provider_that_cannot_delete_now_is_asked_again",
    ),
    "generation.Violation": Growth(
        GUEST,
        "one per order or image that moderation refused; MODERATION_BAN_AFTER of them ban the user",
        deleted_by=_PURGE_GENERATION,
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "generation.WebhookDelivery": Growth(
        "callers with a provider's signature",
        "one per genuine call, whether or not its job exists, of MAX_BODY_CHARS characters;"
        " forgeries add none",
        deleted_by=_PURGE_GENERATION,
        test=_ATTACK + "test_of_a_webhooks_body_no_more_than_the_most_is_kept",
    ),
    "generation.DeadLetter": Growth(
        OPERATOR,
        "one open row per task, job, result or webhook that failed permanently",
        deleted_by=_PURGE_GENERATION,
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "generation.GenerationModel": Growth(STAFF, "the catalogue", kept=_SMALL),
    "generation.ProviderRoute": Growth(STAFF, "the catalogue", kept=_SMALL),
    "generation.Theme": Growth(STAFF, "the catalogue", kept=_SMALL),
    "generation.BlockedTerm": Growth(STAFF, "the list of terms", kept=_SMALL),
    "generation.Maintenance": Growth(OPERATOR, "one row", kept=_SMALL),
    "generation.ProviderHealth": Growth(OPERATOR, "one per provider key", kept=_SMALL),
    "generation.SpendDay": Growth(OPERATOR, "one per provider and day", kept=_SMALL),
    # --- Purchases
    "billing.Purchase": Growth(
        "paying customers", "one per transaction that Apple signed", kept=_MONEY
    ),
    "billing.Subscription": Growth(
        "paying customers", "one per subscription that Apple signed", kept=_MONEY
    ),
    "billing.UnconfirmedPurchase": Growth(
        GUEST,
        "one per purchase while Apple is unavailable; MAX_UNCONFIRMED per user",
        deleted_by="billing.lifecycle.purchases:confirm_purchase",
        test=_ATTACK + "test_a_user_has_no_more_unconfirmed_purchases_than_the_most",
    ),
    "billing.UnreadablePayload": Growth(
        "Apple",
        "one per unreadable payload that Apple signed for us, by its id or hash; forgeries add"
        " none; at most MAX_OPEN open rows",
        deleted_by="billing.tasks:purge",
        test="billing/test_unreadable.py::test_the_number_of_unreadable_payloads_is_limited",
    ),
    "billing.AppAccountTokenUpdate": Growth(
        "paying customers",
        "one per subscription of a merged guest",
        deleted_by="billing.lifecycle.purchases:update_account_token",
    ),
    "billing.Notification": Growth(
        "Apple",
        "one per genuine notification, by its UUID; forgeries add none",
        deleted_by="billing.tasks:purge",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "billing.ConsumptionRequest": Growth(
        "paying customers", "one per refund request of a purchase", kept=_MONEY
    ),
    "billing.FraudScore": Growth("paying customers", "one per user who bought", kept=_MONEY),
    "billing.WithdrawnConsent": Growth(
        "Apple",
        "one per family whose consent was withdrawn",
        kept="the withdrawal stays in force",
    ),
    "billing.Product": Growth(STAFF, "the catalogue", kept=_SMALL),
    "billing.BackfillCursor": Growth(OPERATOR, "two per environment of Apple", kept=_SMALL),
    # --- Support and monitoring
    "adminops.ErrorLog": Growth(
        ADDRESS,
        "ERROR_LOG_PER_MINUTE per code and process, for ERROR_LOG_DAYS; ERROR_LOG_ROWS in total",
        deleted_by="adminops.monitoring.error_log:purge",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "adminops.AuditLogEntry": Growth(STAFF, "staff actions", kept=_AUDIT),
    "adminops.PendingApproval": Growth(STAFF, "actions that need an approval", kept=_AUDIT),
    "adminops.Incident": Growth(STAFF, "incidents", kept=_AUDIT),
    "adminops.Alert": Growth(
        OPERATOR,
        "one per alert and period",
        deleted_by="adminops.monitoring.alerts:purge",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "adminops.Heartbeat": Growth(
        OPERATOR,
        "one per process and role",
        deleted_by="adminops.monitoring.heartbeats:purge",
    ),
    "adminops.CountedDay": Growth(OPERATOR, "one per day", kept=_SMALL),
    "adminops.JobDay": Growth(OPERATOR, "one per day, model, route and outcome", kept=_SMALL),
    "adminops.CreditDay": Growth(OPERATOR, "one per day and credit flow", kept=_SMALL),
    "adminops.SaleDay": Growth(OPERATOR, "one per day and currency", kept=_SMALL),
    # --- Django and libraries
    "admin.LogEntry": Growth(STAFF, "forms that staff saved", kept=_AUDIT),
    "auth.Permission": Growth(OPERATOR, "created by migrations", kept=_SMALL),
    "auth.Group": Growth(OPERATOR, "the roles of staff", kept=_SMALL),
    "auth.Group_permissions": Growth(OPERATOR, "the roles of staff", kept=_SMALL),
    "contenttypes.ContentType": Growth(OPERATOR, "one per table", kept=_SMALL),
    "sessions.Session": Growth(
        STAFF,
        "one per sign-in to the admin, for SESSION_COOKIE_AGE",
        deleted_by="adminops.auth.login:purge_sessions",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "axes.AccessAttempt": Growth(
        ADDRESS,
        "one per username that failed to sign in from an address, STAFF_LOGIN_RATE per address, for"
        " STAFF_LOGIN_LOCKOUT_MINUTES",
        deleted_by="adminops.auth.login:purge_attempts",
        test=_ATTACK + "test_a_sweep_deletes_all_that_has_served_its_time",
    ),
    "axes.AccessAttemptExpiration": Growth(OPERATOR, "none: disabled", kept=_SMALL),
    "axes.AccessFailureLog": Growth(OPERATOR, "none: disabled", kept=_SMALL),
    "axes.AccessLog": Growth(OPERATOR, "none: disabled", kept=_SMALL),
    "otp_static.StaticDevice": Growth(STAFF, "one per member of staff", kept=_SMALL),
    "otp_static.StaticToken": Growth(STAFF, "ten recovery codes per member of staff", kept=_SMALL),
    "otp_totp.TOTPDevice": Growth(STAFF, "one per member of staff", kept=_SMALL),
}


def as_table() -> str:
    """The table of docs/growth.md."""
    lines = ["| table | grown by | bound | deleted by |", "|---|---|---|---|"]
    for name, growth in TABLES.items():
        end = f"`{growth.deleted_by}`" if growth.deleted_by else f"nothing: {growth.kept}"
        shown = f" (`{growth.test}`)" if growth.test else ""
        lines.append(f"| `{name}` | {growth.by} | {growth.bound}{shown} | {end} |")
    return "\n".join(lines)
