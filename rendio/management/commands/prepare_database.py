"""`manage.py prepare_database`: migrate, and create the first member of staff, in one process. To
import the application a second time would take a second at each start of `make run`."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Run migrate and ensure_staff. Both are idempotent."
    requires_system_checks = []  # migrate performs them

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, skip_checks=False)
        call_command("ensure_staff")
