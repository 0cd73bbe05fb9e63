"""Log files of the processes, and the lines of them that the terminal shows.

A file holds everything that its process wrote: JSON lines, and plain text from before logging was
set up. It is rotated at each start and at a size, to NAME.log.1. Rotation may lose the lines of
that moment.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

LONGEST_BYTES = 20_000_000
LONGEST_LINE = 400
EXCEPTION_LINES = 6
# Flower warns whenever it finds no worker to ask, as at each start.
HIDDEN = {("flower", "warning")}
ROUTINE = re.compile(r"sandbox listens on \S+")
STYLES = {"warning": "yellow", "error": "red", "critical": "bold red"}
# Fields that the line shows elsewhere.
HIDDEN_FIELDS = {"level", "event", "timestamp", "logger", "exception"}
GUNICORN = re.compile(r"\[[^\]]*\] \[\d+\] \[(?P<level>[A-Z]+)\] (?P<event>.*)")
# Of the servers only fatal errors: the application reports PostgreSQL's errors itself.
SERVER_LINES = {"postgres": re.compile(r"\bPANIC: "), "valkey": re.compile(r"(?!)")}


def rotate(log: Path) -> None:
    if log.exists():
        log.replace(_older(log))


class LogTail:
    """Reads the lines that were appended to a log since the last read."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._position = 0
        self._unfinished = b""

    def new_lines(self) -> Iterator[Text]:
        """The new lines that are worth showing."""
        for line in self._read():
            if text := format_line(self.name, line):
                yield text

    def _read(self) -> list[str]:
        try:
            with self.log.open("rb") as file:
                file.seek(self._position)
                added = file.read()
        except FileNotFoundError:
            return []
        self._position += len(added)
        if self._position > LONGEST_BYTES:
            shutil.copyfile(self.log, _older(self.log))
            with self.log.open("r+b") as file:
                file.truncate(0)
            self._position = 0
        *lines, self._unfinished = (self._unfinished + added).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def format_line(name: str, line: str) -> Text | None:
    """A log line for the terminal; None for routine lines."""
    if not line.strip():
        return None
    if pattern := SERVER_LINES.get(name):
        return _styled(name, "critical", line) if pattern.search(line) else None
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        if match := GUNICORN.fullmatch(line):
            level = match["level"].lower()
            return _styled(name, level, match["event"]) if level in STYLES else None
        if ROUTINE.fullmatch(line):
            return None
        return _styled(name, "", line)
    level = str(record.get("level", "")).lower()
    if level not in STYLES or (name, level) in HIDDEN:
        return None
    fields = [f"{key}={value}" for key, value in record.items() if key not in HIDDEN_FIELDS]
    text = _styled(name, level, " ".join([str(record.get("event", "")), *fields]))
    if exception := record.get("exception"):
        # The last lines state the error and its place; the file has the whole traceback.
        end = str(exception).rstrip().splitlines()[-EXCEPTION_LINES:]
        text.append("".join(f"\n{'':<9} {line}" for line in end), style="dim")
    return text


def _styled(name: str, level: str, message: str) -> Text:
    if len(message) > LONGEST_LINE:
        message = message[:LONGEST_LINE] + "…"
    text = Text(f"{name:<9} ", style="cyan")
    if level:
        text.append(f"{level} ", style=STYLES[level])
    # Output without a level is from before logging began: probably a traceback.
    text.append(message, style="default" if level else "dim")
    return text


def _older(log: Path) -> Path:
    return log.with_name(log.name + ".1")
