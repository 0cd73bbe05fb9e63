"""`manage.py check_appstore`: whether the App Store and we understand each other."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.services import diagnostics


class Command(BaseCommand):
    help = "Check keys, certificates and the public webhook with a test notification from Apple."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--patience",
            type=float,
            default=30.0,
            metavar="SECONDS",
            help="how long to wait for each test notification (30)",
        )

    def handle(self, *args: Any, patience: float, **options: Any) -> None:
        failed = 0
        for one in diagnostics.run_checks(timeout_seconds=patience):
            failed += not one.ok
            self.stdout.write(f"{'ok    ' if one.ok else 'FAILED'}  {one.what}: {one.detail}")
        if failed:
            raise CommandError(f"{failed} of these failed.")
