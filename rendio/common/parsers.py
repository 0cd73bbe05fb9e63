"""Reading bodies."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import UnreadablePostError
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

# An escaped NUL; after an even number of backslashes, since "\\u0000" spells it out as text.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class StrictJSONParser(BaseParser):
    """UTF-8 JSON as RFC 8259 has it: an object, no NaN, no NUL and no lone surrogates in texts.

    The last two are legal JSON that PostgreSQL cannot store.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Any = None,
    ) -> dict[str, Any]:
        try:
            text = codecs.decode(_read(stream), "utf-8")
            body = json.loads(text, parse_constant=_refuse_constant) if text.strip() else {}
        except (ValueError, RecursionError, UnreadablePostError) as error:
            raise ParseError("Not valid JSON.") from error
        if "\\u" in text:
            try:
                json.dumps(body, ensure_ascii=False).encode()
            except (UnicodeEncodeError, RecursionError) as error:
                raise ParseError("Text with lone surrogates.") from error
            if _NUL.search(text):
                raise ParseError("Text with a NUL character.")
        if not isinstance(body, dict):
            raise ParseError("The body must be a JSON object.")
        return body


def _read(stream: Any) -> bytes:
    """The body, within settings.DATA_UPLOAD_MAX_MEMORY_SIZE: Django checks only what it reads
    itself."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body: bytes = stream.read(limit + 1)
    if len(body) > limit:
        raise RequestDataTooBig
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")
