"""Replay the ledger and compare it with every balance, debt and lot."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from credits import queries


class Command(BaseCommand):
    help = "Prove that every balance, debt and lot follows from the ledger; exit 1 if one does not."

    def handle(self, *args: Any, **options: Any) -> None:
        # One snapshot for all checks, so that money which moves meanwhile is no difference.
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursor.execute("SET LOCAL statement_timeout = 0")
            differences = queries.differences()
            wallets, entries = queries.ledger_size()
        for difference in differences:
            self.stderr.write(
                f"wallet {difference.wallet_id}: {difference.what}:"
                f" expected {difference.expected}, found {difference.found}"
            )
        if differences:
            raise CommandError(f"The ledger does not add up: {len(differences)} differences.")
        self.stdout.write(f"The ledger adds up: {entries} entries in {wallets} wallets.")
