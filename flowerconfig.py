"""Flower reads this at each start from the project's folder: it does not start without a login, and
then shows and changes nothing. An address on Flower's command line has precedence."""

import os

from rendio.config.environment import PRODUCTION
from rendio.server.addresses import listen_address

FEWEST_CHARACTERS = 12 if PRODUCTION else 1
_problems: list[str] = []
_logins = os.environ.get("FLOWER_BASIC_AUTH", "").split(",")
_passwords = [login.partition(":")[2] for login in _logins]
if any(len(password) < FEWEST_CHARACTERS for password in _passwords):
    _problems.append(
        "FLOWER_BASIC_AUTH must be user:password, the password of at least "
        f"{FEWEST_CHARACTERS} characters: Flower does not start without a login."
    )
# Its own default is every address.
address = listen_address(
    "FLOWER_ADDRESS", os.environ.get("FLOWER_ADDRESS") or "127.0.0.1", _problems
)
if _problems:
    raise SystemExit("\n".join(_problems))

# Read-only: all users share one password, and commands to workers are not in the audit log.
read_only = True
