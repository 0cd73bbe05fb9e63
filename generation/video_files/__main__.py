"""The process for files: `python -m generation.video_files probe|convert|sign …`, started by
`process`.

It has no access to database, network or secrets; only `sign`, which decodes nothing, has our
private key. Its output is one JSON object: {"report": …} or
{"unusable": reason}. It ends itself when it exceeds its limits.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

from generation.video_files.media_info import SourceType

CONVERTING_NICENESS = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="generation.video_files")
    parser.add_argument("command", choices=["probe", "convert", "sign"])
    parser.add_argument("path", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=["video", "image"], default="video")
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--source-type", type=SourceType, default=SourceType.GENERATED)
    parser.add_argument("--names", nargs="+", default=[])
    parser.add_argument("--algorithm", default="")
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--file-bytes", type=int, required=True)
    arguments = parser.parse_args()
    _set_limits(arguments)
    print(json.dumps(_run_command(arguments)))  # noqa: T201 (it is what `process` reads)


def _set_limits(arguments: argparse.Namespace) -> None:
    """Limit time, memory and file size. The limits hold even if the parent process has died."""
    signal.alarm(arguments.seconds)
    for kind, limit in (
        (resource.RLIMIT_AS, arguments.memory_bytes),
        (resource.RLIMIT_FSIZE, arguments.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    # A write beyond the limit is then an OSError instead of a signal.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if arguments.command == "convert":
        os.nice(CONVERTING_NICENESS)


def _run_command(arguments: argparse.Namespace) -> dict[str, Any]:
    # Imported after the limits are set.
    from generation.video_files.convert import convert
    from generation.video_files.credentials import CERTIFICATES, PRIVATE_KEY, sign
    from generation.video_files.media_info import UnusableFile
    from generation.video_files.probe import probe

    try:
        if arguments.command == "sign":
            sign(
                arguments.path,
                arguments.folder,
                arguments.names,
                certificates=os.environ[CERTIFICATES],
                private_key=os.environ[PRIVATE_KEY],
                source_type=arguments.source_type,
                algorithm=arguments.algorithm,
            )
            return {"report": None}
        if arguments.command == "convert":
            convert(arguments.path, arguments.folder / "converted.mp4")
            return {"report": None}
        report = probe(
            arguments.path,
            arguments.folder,
            kind=arguments.kind,
            frame_count=arguments.frames,
            source_type=arguments.source_type,
        )
        return {"report": report.as_json()}
    except UnusableFile as error:
        return {"unusable": str(error)}
    except Exception as error:
        # Decoders raise exceptions without a common base class for malicious content: FFmpegError,
        # SyntaxError, StopIteration if there is no frame.
        return {"unusable": type(error).__name__}


if __name__ == "__main__":
    main()
