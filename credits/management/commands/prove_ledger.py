"""Replay the ledger and compare it with every balance, debt and lot."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import pluralize

from credits import ledger_check


class Command(BaseCommand):
    help = "Verify every balance, debt and lot against the ledger; exit 1 after a discrepancy."

    def handle(self, *args: Any, **options: Any) -> None:
        report = ledger_check.verify_ledger()
        for discrepancy in report.discrepancies:
            self.stderr.write(
                f"wallet {discrepancy.wallet_id}: {discrepancy.problem}:"
                f" expected {discrepancy.expected}, found {discrepancy.found}"
            )
        if report.discrepancies:
            raise CommandError(
                f"The ledger does not add up: {len(report.discrepancies)} differences."
            )
        self.stdout.write(
            f"The ledger adds up: {report.entries} entr{pluralize(report.entries, 'y,ies')}"
            f" in {report.wallets} wallet{pluralize(report.wallets)}."
        )
