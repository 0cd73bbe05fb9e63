"""Parental consent to a child's purchases, after it was withdrawn.

Apple reports a withdrawal, but not a renewed consent. So no purchase is refused permanently: later
purchases of the Apple account await review (PendingReason.CONSENT_WITHDRAWN). Earlier purchases
stay; Apple notifies us of their refunds.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from billing.models import Purchase, WithdrawnConsent


@transaction.atomic
def withdraw_consent(*, app_transaction_id: str, withdrawn_at: datetime) -> None:
    """Store the earliest withdrawal, in any order of arrival. Joins the caller's transaction
    or opens its own.
    """
    consent, is_new = WithdrawnConsent.objects.select_for_update().get_or_create(
        app_transaction_id=app_transaction_id, defaults={"withdrawn_at": withdrawn_at}
    )
    if not is_new and withdrawn_at < consent.withdrawn_at:
        consent.withdrawn_at = withdrawn_at
        consent.save(update_fields=["withdrawn_at"])


def is_without_consent(purchase: Purchase) -> bool:
    """Return whether the purchase was made after the consent was withdrawn."""
    return WithdrawnConsent.objects.filter(
        app_transaction_id=purchase.app_transaction_id, withdrawn_at__lte=purchase.purchased_at
    ).exists()
