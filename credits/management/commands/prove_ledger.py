"""Replay the ledger and compare it with every balance, debt and lot."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.template.defaultfilters import pluralize

from credits import queries


class Command(BaseCommand):
    help = "Prove that every balance, debt and lot follows from the ledger; exit 1 if one does not."

    def handle(self, *args: Any, **options: Any) -> None:
        proof = queries.prove()
        for difference in proof.differences:
            self.stderr.write(
                f"wallet {difference.wallet_id}: {difference.what}:"
                f" expected {difference.expected}, found {difference.found}"
            )
        if proof.differences:
            raise CommandError(f"The ledger does not add up: {len(proof.differences)} differences.")
        self.stdout.write(
            f"The ledger adds up: {proof.entries} entr{pluralize(proof.entries, 'y,ies')}"
            f" in {proof.wallets} wallet{pluralize(proof.wallets)}."
        )
