"""`manage.py prepare_database`: migrate, and create the first member of staff and the playground's
promotion code, in one process. To import the application a second time would take a second at each
start of `make run`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from credits.services import CodeTerms, create_code
from rendio.common import clock
from rendio.common.errors import InvalidInput

# The playground's page suggests it.
PLAYGROUND_CODE = "TAKE2"
PLAYGROUND_CREDITS = 20


class Command(BaseCommand):
    help = "Run migrate and ensure_staff, and create the playground's code. All are idempotent."
    requires_system_checks = []  # migrate performs them

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, skip_checks=False)
        call_command("ensure_staff")
        if settings.PLAYGROUND and settings.SANDBOX_URL:
            with suppress(InvalidInput):  # it is there from an earlier start
                terms = CodeTerms(credits=PLAYGROUND_CREDITS)
                create_code(code=PLAYGROUND_CODE, terms=terms, now=clock.now())
