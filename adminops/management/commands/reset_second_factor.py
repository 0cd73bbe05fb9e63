"""`manage.py reset_second_factor`: for a member of staff whose phone is lost."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from adminops.auth import otp


class Command(BaseCommand):
    help = "Delete the authenticator app and recovery codes of a member of staff."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = User.objects.filter(username=username, is_staff=True).first()
        if user is None:
            raise CommandError(f"There is no member of staff named {username}.")
        deleted = otp.delete_devices(user)
        self.stdout.write(f"{username} had {deleted} app{'' if deleted == 1 else 's'} set up")
