"""Turn maintenance mode on or off. Existing jobs continue either way."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from generation import services
from rendio.common import clock


class Command(BaseCommand):
    help = "Stop new orders (on) or accept them again (off). Existing jobs continue."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("switch", choices=["on", "off"])
        parser.add_argument("--reason", default="", help="Shown to staff.")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        is_on = options["switch"] == "on"
        was_on = services.switch_maintenance(
            is_on=is_on, reason=options["reason"][:500], now=clock.now()
        )
        now, before = ("on" if state else "off" for state in (is_on, was_on))
        self.stdout.write(f"Maintenance is {now} (it was {before}).")
