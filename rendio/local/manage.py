"""`make manage ARGS="prove_ledger"`: a management command beside a `make run`, on its servers."""

import os
import sys
from typing import NoReturn

from rendio.local.data_dir import PROJECT, Home, NotRunning


def manage(arguments: list[str]) -> NoReturn:
    """Become `manage.py`, or end with a message where nothing runs in the home."""
    home = Home.from_environment()
    try:
        running = home.environment_of_owner()
    except NotRunning:
        sys.exit(f"Nothing runs in {home.root}: start it by `make run`, and try again beside it.")
    given = {name: value for name, value in os.environ.items() if value}
    command = [sys.executable, os.fspath(PROJECT / "manage.py"), *arguments]
    os.execve(command[0], command, running | given)  # noqa: S606
