"""Write docs/api.md from the description of the API."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from rendio.openapi.markdown import render
from rendio.openapi.schema import document


class Command(BaseCommand):
    help = "Write docs/api.md from the description of the API."
    requires_system_checks = []  # the database is not needed

    def handle(self, *args: Any, **options: Any) -> None:
        page = settings.BASE_DIR / "docs" / "api.md"
        page.write_text(render(json.loads(document().body)), encoding="utf-8")
        self.stdout.write(f"Wrote {page}")
