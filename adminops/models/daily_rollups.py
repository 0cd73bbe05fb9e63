"""What was counted of each day for the dashboards."""

from __future__ import annotations

from django.db import models

from credits.flows import Flow
from generation.models import JobStatus

SEE_MONEY = "see_money"


class CountedDay(models.Model):
    """A day in UTC whose figures have been counted, and as of when they are. Whoever counts it
    holds its lock."""

    date = models.DateField(primary_key=True)
    counted_at = models.DateTimeField()
    # What all wallets held, as counted last on that day; None where nobody counted on it.
    held_bought = models.BigIntegerField(null=True)
    held_given = models.BigIntegerField(null=True)

    class Meta:
        permissions = [(SEE_MONEY, "Can see what is earned and what it costs")]

    def __str__(self) -> str:
        return str(self.date)


class JobDay(models.Model):
    """Jobs ordered on one day that went one way: so many, what they brought, at what cost."""

    day = models.ForeignKey(CountedDay, on_delete=models.CASCADE, related_name="+")
    model_id = models.UUIDField()
    route_id = models.UUIDField(null=True, help_text="Asked last; None where none was asked.")
    status = models.CharField(max_length=10, choices=JobStatus.choices)
    error_code = models.CharField(max_length=10, blank=True)
    jobs = models.IntegerField()
    credits = models.BigIntegerField(help_text="Of those whose credits have not been given back.")
    cost_usd = models.DecimalField(
        max_digits=14, decimal_places=4, help_text="Of all submissions of these jobs."
    )

    def __str__(self) -> str:
        return f"{self.day_id}: {self.jobs} {self.status}"


class CreditDay(models.Model):
    """Credits that moved in one way on one day."""

    day = models.ForeignKey(CountedDay, on_delete=models.CASCADE, related_name="+")
    flow = models.CharField(max_length=10, choices=Flow.choices)
    credits = models.BigIntegerField(help_text="Below 0 where wallets lost them.")

    def __str__(self) -> str:
        return f"{self.day_id}: {self.credits} {self.flow}"


class SaleDay(models.Model):
    """Purchases recorded on one day and paid in one currency, before the store's commission."""

    day = models.ForeignKey(CountedDay, on_delete=models.CASCADE, related_name="+")
    currency = models.CharField(max_length=3, blank=True, help_text="Empty: Apple named no price.")
    purchases = models.IntegerField()
    milliunits = models.BigIntegerField(help_text="Thousandths of the currency's unit.")

    def __str__(self) -> str:
        return f"{self.day_id}: {self.purchases} in {self.currency}"
