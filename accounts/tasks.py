"""What is due in accounts, and its sweeps: late is harmless, twice is harmless."""

from __future__ import annotations

from celery import shared_task

from accounts import services
from accounts.push import outbox, sending
from accounts.services import hardware_bans, welcome
from rendio.common import clock, purge
from rendio.common.due import drain, run_all


@shared_task(name="accounts.revoke_at_apple")
def revoke_at_apple() -> None:
    services.revoke_due_apple_tokens(now=clock.now())


@shared_task(name="accounts.give_welcomes")
def give_welcomes() -> None:
    drain(lambda: services.grant_due_welcomes(now=clock.now()), batch=welcome.BATCH)


@shared_task(name="accounts.set_ban_bits")
def set_ban_bits() -> None:
    drain(lambda: services.write_due_ban_bits(now=clock.now()), batch=hardware_bans.BATCH)


@shared_task(name="accounts.send_pushes")
def send_pushes() -> None:
    drain(lambda: sending.send_due(now=clock.now()), batch=sending.BATCH)


@shared_task(name="accounts.sweep")
def sweep() -> None:
    now = clock.now()
    run_all(
        lambda: purge.run_deletes(
            lambda: services.purge_sessions(now=now),
            lambda: services.purge_used_tokens(now=now),
            lambda: services.purge_claims(now=now),
            lambda: services.purge_unused_keys(now=now),
            lambda: services.purge_device_tokens(now=now),
            lambda: services.purge_person_keys(now=now),
            lambda: outbox.purge_pushes(now=now),
        ),
        lambda: drain(services.fill_public_ids, batch=services.PUBLIC_IDS_BATCH),
    )
