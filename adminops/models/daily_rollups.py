"""Daily rollups for the dashboards."""

from __future__ import annotations

from django.db import models

from credits.flows import Flow
from generation.models import JobStatus

SEE_MONEY = "see_money"


class CountedDay(models.Model):
    """A day in UTC with rollups, and when they were counted. The process that counts holds the
    row's lock."""

    date = models.DateField(primary_key=True)
    counted_at = models.DateTimeField()
    # Credits in all wallets, as last counted on that day. None: not counted on that day.
    held_bought = models.BigIntegerField(null=True)
    held_given = models.BigIntegerField(null=True)

    class Meta:
        permissions = [(SEE_MONEY, "Can see revenue and cost")]

    def __str__(self) -> str:
        return str(self.date)


class JobDay(models.Model):
    """Jobs ordered on one day, by model, route, status and error code, with credits and cost."""

    day = models.ForeignKey(CountedDay, on_delete=models.CASCADE, related_name="+")
    model_id = models.UUIDField()
    route_id = models.UUIDField(null=True, help_text="Last route. Empty without one.")
    status = models.CharField(max_length=10, choices=JobStatus.choices)
    error_code = models.CharField(max_length=10, blank=True)
    jobs = models.IntegerField()
    credits = models.BigIntegerField(help_text="Credits charged and not refunded.")
    cost_usd = models.DecimalField(
        max_digits=14, decimal_places=4, help_text="Cost of all requests of these jobs."
    )

    def __str__(self) -> str:
        return f"{self.day_id}: {self.jobs} {self.status}"


class CreditDay(models.Model):
    """Credits of one flow on one day."""

    day = models.ForeignKey(CountedDay, on_delete=models.CASCADE, related_name="+")
    flow = models.CharField(max_length=10, choices=Flow.choices)
    credits = models.BigIntegerField(help_text="Negative if removed from wallets.")

    def __str__(self) -> str:
        return f"{self.day_id}: {self.credits} {self.flow}"


class SaleDay(models.Model):
    """Purchases of one day in one currency, before the store's commission."""

    day = models.ForeignKey(CountedDay, on_delete=models.CASCADE, related_name="+")
    currency = models.CharField(max_length=3, blank=True, help_text="Empty if Apple sent no price.")
    purchases = models.IntegerField()
    milliunits = models.BigIntegerField(help_text="Amount in thousandths of the currency unit.")

    def __str__(self) -> str:
        return f"{self.day_id}: {self.purchases} in {self.currency}"
