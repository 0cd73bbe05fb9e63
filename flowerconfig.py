"""Flower reads this at each start from the project's folder: it does not start without a login, and
then shows and changes nothing."""

import os

from rendio.environment import PRODUCTION

FEWEST_CHARACTERS = 12 if PRODUCTION else 1
_logins = os.environ.get("FLOWER_BASIC_AUTH", "").split(",")
_passwords = [login.partition(":")[2] for login in _logins]
if any(len(password) < FEWEST_CHARACTERS for password in _passwords):
    raise SystemExit(
        "FLOWER_BASIC_AUTH must be user:password, the password of at least "
        f"{FEWEST_CHARACTERS} characters: Flower does not start without a login."
    )

# To look at: its login is one password for all, and no record has what a worker is told to do.
read_only = True
