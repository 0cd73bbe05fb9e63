"""`manage.py reset_second_factor`: for a member of staff whose phone is lost."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from adminops.auth import otp


class Command(BaseCommand):
    help = "Forget a member of staff's app and recovery codes: the next sign-in sets up another."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = User.objects.filter(username=username, is_staff=True).first()
        if user is None:
            raise CommandError(f"There is no member of staff named {username}.")
        forgotten = otp.forget(user)
        self.stdout.write(f"{username} had {forgotten} app{'' if forgotten == 1 else 's'} set up")
