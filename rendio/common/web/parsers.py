"""Parsers of request bodies: JSON, and multipart forms with a file or several."""

from __future__ import annotations

import codecs
import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

# An escaped NUL; after an even number of backslashes, since "\\u0000" spells it out as text.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class StrictJSONParser(BaseParser):
    """A JSON object in UTF-8 (RFC 8259), without NaN, NUL and lone surrogates.

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
            text = codecs.decode(_read(stream, parser_context["request"].META), "utf-8")
            body = json.loads(text, parse_constant=_refuse_constant) if text.strip() else {}
        except (ValueError, RecursionError, UnreadablePostError) as error:
            raise ParseError(_("Not valid JSON.")) from error
        if "\\u" in text:
            try:
                json.dumps(body, ensure_ascii=False).encode()
            except (UnicodeEncodeError, RecursionError) as error:
                raise ParseError(_("The text contains lone surrogates.")) from error
            if _NUL.search(text):
                raise ParseError(_("The text contains a NUL character."))
        if not isinstance(body, dict):
            raise ParseError(_("The body must be a JSON object."))
        if _is_deeper(body, than=settings.MAX_JSON_DEPTH):
            raise ParseError(_("Nested too deeply."))
        return body


def _is_deeper(body: Any, *, than: int) -> bool:
    """Iterative, because a recursion would itself be exhausted by too deep a body."""
    level = [body]
    for _level in range(than):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _read(stream: Any, meta: dict[str, Any]) -> bytes:
    """The body within settings.DATA_UPLOAD_MAX_MEMORY_SIZE: Django checks only what it reads
    itself."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    _check_announced_length(meta, limit=limit)
    body: bytes = stream.read(limit + 1)
    if len(body) > limit:
        raise RequestDataTooBig
    return body


def _check_announced_length(meta: dict[str, Any], *, limit: int) -> None:
    """Raises RequestDataTooBig. The server passes such a request without its body."""
    # A number: REST framework has read it. Django serves no body without one.
    if int(meta.get("CONTENT_LENGTH") or 0) > limit:
        raise RequestDataTooBig


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")


# Allowance of a form without its file: boundaries, headers, small fields.
FORM_BYTES = 64 * 1024


class _MultipartParser(BaseParser, ABC):
    media_type = "multipart/form-data"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Any = None,
    ) -> dict[str, Any]:
        return self.parse_form(stream, parser_context["request"].META)

    @abstractmethod
    def parse_form(self, stream: Any, meta: dict[str, Any]) -> dict[str, Any]:
        """The body with the form's fields and files."""


class FormParser(_MultipartParser):
    """A multipart form with one file named `file`, of at most settings.MAX_UPLOAD_BYTES.

    The file is `file` of the body, as bytes; other fields are text, other files are ignored. Too
    large a body is refused as early as possible: by its Content-Length before reading, else while
    reading.
    """

    def parse_form(self, stream: Any, meta: dict[str, Any]) -> dict[str, Any]:
        file = _SingleFileHandler()
        body = _parse_form(stream, meta, file, max_bytes=settings.MAX_UPLOAD_BYTES + FORM_BYTES)
        if file.chunks is not None:
            body["file"] = b"".join(file.chunks)
        return body


class FilesParser(_MultipartParser):
    """A multipart form with files named `files`, together of at most
    settings.MAX_TRAINING_UPLOAD_BYTES.

    `files` of the body is a list of `SentFile`; other fields are text, other files are ignored. A
    file of more than settings.MAX_UPLOAD_BYTES has no content, and does not fail the others. Too
    large a body is refused before reading.
    """

    def parse_form(self, stream: Any, meta: dict[str, Any]) -> dict[str, Any]:
        handler = _FilesHandler()
        max_bytes = settings.MAX_TRAINING_UPLOAD_BYTES + FORM_BYTES
        body = _parse_form(stream, meta, handler, max_bytes=max_bytes)
        return body | {"files": handler.files}


def _parse_form(
    stream: Any, meta: dict[str, Any], handler: FileUploadHandler, *, max_bytes: int
) -> dict[str, Any]:
    """The text fields of a form; `handler` keeps its files. Raises RequestDataTooBig if the form
    announces more than `max_bytes`, ParseError."""
    _check_announced_length(meta, limit=max_bytes)
    try:
        # Always UTF-8; a codec in the request is ignored.
        fields, _files = MultiPartParser(meta, stream, [handler], "utf-8").parse()
    except (MultiPartParserError, UnreadablePostError) as error:
        raise ParseError(_("Not a valid form.")) from error
    return dict(fields.items())


class _SingleFileHandler(FileUploadHandler):
    """Keeps the first file named `file` in memory, up to the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.chunks: list[bytes] | None = None

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        if self.field_name != "file" or self.chunks is not None:
            raise SkipFile
        self.chunks = []

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > settings.MAX_UPLOAD_BYTES:
            raise RequestDataTooBig
        if self.chunks is not None:
            self.chunks.append(raw_data)

    def file_complete(self, file_size: int) -> None:
        """Nothing for Django's own collection of files."""


@dataclass
class SentFile:
    """A file of a form. `content` is None if the file is larger than settings.MAX_UPLOAD_BYTES."""

    name: str
    content: bytes | None = None


class _FilesHandler(FileUploadHandler):
    """Keeps the files named `files` in memory, each up to the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[SentFile] = []
        self._chunks: list[bytes] = []

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        if self.field_name != "files":
            raise SkipFile
        self._chunks = []

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) <= settings.MAX_UPLOAD_BYTES:
            self._chunks.append(raw_data)
        else:
            self._chunks = []

    def file_complete(self, file_size: int) -> None:
        fits = file_size <= settings.MAX_UPLOAD_BYTES
        self.files.append(SentFile(self.file_name or "", b"".join(self._chunks) if fits else None))
        self._chunks = []
