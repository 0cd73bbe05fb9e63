"""`python -m sandbox`: serve until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import sys

from sandbox.logs import configure_json_logging
from sandbox.server import Listener, serve

logger = logging.getLogger("sandbox")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 takes any free one")
    parser.add_argument("--url", help="how others reach it, where that is not by host and port")
    arguments = parser.parse_args()
    configure_json_logging()

    try:
        listener = Listener.open(host=arguments.host, port=arguments.port)
    except OSError as error:
        logger.error(  # noqa: TRY400 (the address tells all; a trace would bury it)
            "Cannot listen on %s:%s: %s", arguments.host, arguments.port, error.strerror
        )
        return 1
    sys.stdout.write(f"sandbox listens on {listener.url}\n")
    sys.stdout.flush()
    asyncio.run(serve(listener, url=arguments.url or listener.url))
    return 0


if __name__ == "__main__":
    sys.exit(main())
