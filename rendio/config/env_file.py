"""`.env`, parsed like Docker Compose does, or refused with the line's number.

python-dotenv reads the file. A line that Compose would read differently is refused. The rules are
Compose's (docs.docker.com, "Syntax for environment files"):

    NAME=value          the same with blanks around the =, and with `export` before it
    NAME=value # why    a comment has a blank before it; `value#1` is a value
    NAME='value'        as it stands between the quotes, \\' is a quote
    NAME="value"        \\n, \\r, \\t, \\\\ and \\" as usual. Quoted values may have lines

Compose replaces $NAME outside single quotes. We do not, so that a $ there is refused.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from dotenv.parser import Binding, parse_stream

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES_OF_BOTH = re.compile(r'\\[nrt"\\]')


def read(path: Path) -> dict[str, str]:
    """The variables of the file; none if there is no file. If a name is set twice, the last value
    counts. Raises ImproperlyConfigured, which names all lines that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ImproperlyConfigured(f"{path.name} cannot be read: {why}") from None
    values: dict[str, str] = {}
    refused: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        statement = binding.original.string
        if not statement.strip() or statement.lstrip().startswith("#"):
            continue
        problem = next(_problems(binding), None)
        if problem is not None:
            blank = statement[: len(statement) - len(statement.lstrip())]
            line = binding.original.line + blank.count("\n")
            refused.append(f"{path.name}, line {line}: {problem}")
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    if refused:
        raise ImproperlyConfigured("\n  ".join(["This cannot be read:", *refused]))
    return values


def _problems(binding: Binding) -> Iterator[str]:
    """The reasons why Compose would read this statement differently, or why it is invalid for both.
    Never quotes a value, which may be a secret."""
    if binding.error:
        yield "must be NAME=value; a quote that is opened ends before a comment or the line's end."
        return
    if binding.value is None or not _NAME.fullmatch(binding.key or ""):
        yield "must be NAME=value."
        return
    raw = binding.original.string.partition("=")[2].strip()
    quote = raw[:1] if raw[:1] in {"'", '"'} else ""
    name = binding.key
    if quote == "'":
        if r"\\" in raw:
            yield f"{name} has a double backslash in single quotes; use double quotes."
        return
    if "$" in binding.value:
        yield f"{name} has a $, which Compose would replace; put the value in single quotes."
    if quote:
        if "\\" in _ESCAPES_OF_BOTH.sub("", raw):
            yield rf"{name} has a backslash in double quotes that is none of \n \r \t \" \\."
    elif raw.startswith("#") and binding.value == "":
        yield f"{name} has a comment and no value; put the comment on a line of its own."
    elif re.search(r"[^\S ]#", raw):
        yield f"{name} has a tab before a #; put a blank there, or the value in quotes."
