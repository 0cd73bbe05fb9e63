"""The process that decodes: `python -m generation.video_files look|convert …`, started by
`process`.

It knows no secret, no database and no network of ours. What it has to say is one JSON object:
{"report": …} or {"unusable": why}. It ends itself where it takes more than it was given.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

CONVERTING_NICENESS = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="generation.video_files")
    parser.add_argument("what", choices=["look", "convert"])
    parser.add_argument("path", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=["video", "image"], default="video")
    parser.add_argument("--pictures", type=int, default=0)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--file-bytes", type=int, required=True)
    asked = parser.parse_args()
    _limit(asked)
    print(json.dumps(_answer(asked)))  # noqa: T201 (it is what `process` reads)


def _limit(asked: argparse.Namespace) -> None:
    """Limit time, memory and file size. The limits hold even if the parent process has died."""
    signal.alarm(asked.seconds)
    for what, most in (
        (resource.RLIMIT_AS, asked.memory_bytes),
        (resource.RLIMIT_FSIZE, asked.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    # Writing beyond is an error like any other.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if asked.what == "convert":
        os.nice(CONVERTING_NICENESS)


def _answer(asked: argparse.Namespace) -> dict[str, Any]:
    # Once the limits hold.
    from generation.video_files.convert import convert
    from generation.video_files.probe import look
    from generation.video_files.report import Unusable

    try:
        if asked.what == "convert":
            convert(asked.path, asked.folder / "film.mp4")
            return {"report": None}
        report = look(asked.path, asked.folder, kind=asked.kind, pictures=asked.pictures)
        return {"report": report.as_json()}
    except Unusable as error:
        return {"unusable": str(error)}
    except Exception as error:
        # What a decoder raises for hostile bytes has no common base: FFmpegError, SyntaxError,
        # StopIteration where there is no frame.
        return {"unusable": type(error).__name__}


if __name__ == "__main__":
    main()
