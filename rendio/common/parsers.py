"""Reading bodies."""

from __future__ import annotations

import codecs
import json
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser


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
            text = codecs.decode(stream.read(), "utf-8")
            body = json.loads(text, parse_constant=_refuse_constant) if text.strip() else {}
        except (ValueError, RecursionError) as error:
            raise ParseError("Not valid JSON.") from error
        if "\\u" in text or "\x00" in text:
            try:
                stored = json.dumps(body, ensure_ascii=False)
                stored.encode()
            except (UnicodeEncodeError, RecursionError) as error:
                raise ParseError("Text with lone surrogates.") from error
            if "\\u0000" in stored:
                raise ParseError("Text with a NUL character.")
        if not isinstance(body, dict):
            raise ParseError("The body must be a JSON object.")
        return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")
