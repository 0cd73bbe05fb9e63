"""A guardian's consent to a child's purchases, once it is withdrawn.

Apple tells of a withdrawal and not of a consent given again, so nothing is refused for good: what
the Apple account buys afterwards waits for a person (PendingReason.CONSENT_WITHDRAWN). What it
bought before stays, and Apple tells of its refund by itself.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from billing.models import Purchase, WithdrawnConsent


@transaction.atomic
def withdraw_consent(*, app_transaction_id: str, withdrawn_at: datetime) -> None:
    """Keep the earliest withdrawal, in whatever order they come. Joins the caller's transaction or
    opens its own."""
    consent, is_new = WithdrawnConsent.objects.select_for_update().get_or_create(
        app_transaction_id=app_transaction_id, defaults={"withdrawn_at": withdrawn_at}
    )
    if not is_new and withdrawn_at < consent.withdrawn_at:
        consent.withdrawn_at = withdrawn_at
        consent.save(update_fields=["withdrawn_at"])


def is_without_consent(purchase: Purchase) -> bool:
    """Whether it was bought after a guardian had withdrawn the consent."""
    return WithdrawnConsent.objects.filter(
        app_transaction_id=purchase.app_transaction_id, withdrawn_at__lte=purchase.purchased_at
    ).exists()
