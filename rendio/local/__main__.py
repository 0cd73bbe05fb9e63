"""`python -m rendio.local run`: what `make run` calls once the requirements are installed."""

import argparse
import sys

from rendio.local.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m rendio.local")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start everything, and serve until Ctrl-C")
    parser.parse_args()
    return run()


if __name__ == "__main__":
    sys.exit(main())
