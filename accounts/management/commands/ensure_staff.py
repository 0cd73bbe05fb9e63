"""`manage.py ensure_staff`: the first member of staff, from the environment."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import services


class Command(BaseCommand):
    help = "Create or update a superuser from STAFF_USERNAME and STAFF_PASSWORD."

    def handle(self, *args: Any, **options: Any) -> None:
        username, password = _needed("STAFF_USERNAME"), _needed("STAFF_PASSWORD")
        is_new = services.ensure_staff(username=username, password=password)
        self.stdout.write(f"staff user {username} {'created' if is_new else 'is up to date'}")


def _needed(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise CommandError(f"{name} is not set.")
    return value
