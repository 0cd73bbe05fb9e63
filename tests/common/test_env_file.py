"""`.env` is read as Docker Compose reads it, or refused with the line's number.

The first table is that of docs.docker.com, "Syntax for environment files".
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from rendio.config import env_file
from rendio.local.data_dir import PROJECT


@pytest.fixture
def file(tmp_path):
    """Writes a .env and gives its path."""

    def write(text):
        path = tmp_path / ".env"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("VAR=VAL", "VAL"),
        ('VAR="VAL"', "VAL"),
        ("VAR='VAL'", "VAL"),
        ("VAR = VAL", "VAL"),
        ("  export VAR=VAL  ", "VAL"),
        ("VAR=VAL # comment", "VAL"),
        ("VAR=VAL# not a comment", "VAL# not a comment"),
        ('VAR="VAL # not a comment"', "VAL # not a comment"),
        ('VAR="VAL" # comment', "VAL"),
        ("VAR='VAL' # it's a comment", "VAL"),
        ("VAR='$OTHER'", "$OTHER"),
        ("VAR='${OTHER}'", "${OTHER}"),
        (r"VAR='Let\'s go!'", "Let's go!"),
        (r'VAR="{\"hello\": \"json\"}"', '{"hello": "json"}'),
        (r'VAR="some\tvalue"', "some\tvalue"),
        (r"VAR='some\tvalue'", r"some\tvalue"),
        ("VAR='on\ntwo lines'", "on\ntwo lines"),
        ("VAR=", ""),
        ("VAR=a=b", "a=b"),
        ("VAR=with blanks  ", "with blanks"),
        ("VAR=first\nVAR=last", "last"),
        ("VAR=VAL\r", "VAL"),
    ],
)
def test_env_file_lines_parse_as_in_docker_compose(file, line, value):
    assert env_file.read(file(f"# a comment\n\n{line}\n")) == {"VAR": value}


def test_byte_order_mark_is_ignored(file):
    assert env_file.read(file("\ufeffVAR=VAL")) == {"VAR": "VAL"}


@pytest.mark.parametrize(
    "line",
    [
        "VAR",
        "VAR: VAL",
        "VAR-NAME=VAL",
        "1VAR=VAL",
        "=VAL",
        'VAR="VAL',
        "VAR='VAL' more",
        'VAR="VAL"more',
        "VAR=a$b",
        "VAR=$OTHER",
        'VAR="${OTHER}"',
        r'VAR="C:\path"',
        r"VAR='a\\b'",
        "VAR= # comment",
        "VAR=VAL\t# comment",
    ],
)
def test_lines_that_compose_parses_differently_are_refused(file, line):
    path = file(f"GOOD=1\n\n\n{line}\n# the end\n")

    with pytest.raises(ImproperlyConfigured, match=r"\.env, line 4: ") as refused:
        env_file.read(path)

    assert "VAL" not in str(refused.value).replace("NAME=value", "")


def test_error_names_every_invalid_line(file):
    path = file("ONE=a$b\nTWO=2\nTHREE\n\nFOUR='4' 4\n")

    with pytest.raises(ImproperlyConfigured) as refused:
        env_file.read(path)

    numbers = [line.split(":")[0].strip() for line in str(refused.value).splitlines()[1:]]
    assert numbers == [".env, line 1", ".env, line 3", ".env, line 5"]


def test_binary_env_file_is_refused_and_a_missing_file_is_empty(file, tmp_path):
    with pytest.raises(ImproperlyConfigured, match=r"\.env cannot be read: it is not UTF-8"):
        env_file.read(file(b"VAR=\xff"))
    assert env_file.read(tmp_path / "none") == {}


def test_environment_variables_override_the_env_file(tmp_path):
    shutil.copytree(PROJECT / "rendio", tmp_path / "rendio")
    (tmp_path / ".env").write_text(
        'MAX_BODY_BYTES = 12345 # bytes\nFAL_USER_ID="us # 1"\nUPLOAD_HOURS=3\nQUOTE_ORDERS=7\n'
    )
    code = (
        "from rendio import settings as s;"
        "print(s.DATA_UPLOAD_MAX_MEMORY_SIZE, s.FAL_USER_ID, s.UPLOAD_HOURS, s.QUOTE_ORDERS)"
    )
    environment = {"PATH": os.environ["PATH"], "UPLOAD_HOURS": "5", "QUOTE_ORDERS": " "}

    told = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    # Set to nothing is not set.
    assert told.stdout == "12345 us # 1 5 7\n", told.stderr
