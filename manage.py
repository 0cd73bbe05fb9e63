#!/usr/bin/env python
"""Django's command line for Rendio."""

import os
import sys


def main() -> None:
    """Report errors of the environment without a traceback, unless `--traceback` is given."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rendio.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, OperationalError) as problem:
        # With an SQL state it was a statement that failed, and no connection: see which.
        if "--traceback" in sys.argv or getattr(problem.__cause__, "sqlstate", None):
            raise
        sys.exit(f"{type(problem).__name__}: {problem}")


if __name__ == "__main__":
    main()
