"""`python -m rendio.local`: the entry point of `make run` and `make manage`."""

import argparse
import sys

from rendio.local.journey import play_journey
from rendio.local.manage import manage
from rendio.local.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m rendio.local")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start everything, and serve until Ctrl-C")
    commands.add_parser("journey", help="a customer's journey through the API of a run")
    beside = commands.add_parser("manage", help="a command of manage.py beside a run")
    beside.add_argument("arguments", nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    if chosen.command == "manage":
        manage(chosen.arguments)
    return play_journey() if chosen.command == "journey" else run()


if __name__ == "__main__":
    sys.exit(main())
