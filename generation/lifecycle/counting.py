"""Daily spend per provider, so that the spend of a month is a sum of few rows.

May run late or twice. The cost of a submission may change until the submission ends, for some
hours. So the rollup covers yesterday and today; earlier days stay.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Sum
from django.db.models.functions import TruncDate

from generation.models import ProviderRequest, SpendDay
from generation.spend import Period

# A submission is committed at most this long after its `sent_at`.
RECORDING_DELAY = timedelta(seconds=30)


def rollup_daily_spend(*, now: datetime) -> None:
    """Write the spend of yesterday and today."""
    until = now - RECORDING_DELAY
    began = Period.DAY.began_at(until) - timedelta(days=1)
    costs = (
        ProviderRequest.objects.filter(sent_at__gte=began, sent_at__lt=until)
        .values_list("provider", TruncDate("sent_at"))
        .annotate(Sum("cost_usd"))
        .order_by()
    )
    SpendDay.objects.bulk_create(
        [
            SpendDay(provider=provider, date=date, usd=usd, counted_until=until)
            for provider, date, usd in costs
        ],
        update_conflicts=True,
        unique_fields=["provider", "date"],
        update_fields=["usd", "counted_until"],
    )
