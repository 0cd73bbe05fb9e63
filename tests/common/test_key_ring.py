"""Keys by label, and a file of them that changes while we run."""

from __future__ import annotations

import os

import pytest

from rendio.common.keyring import KeyRing, MalformedSecrets, parse


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("one:id:secret", {"one": "id:secret"}),
        ("one:a, two:b", {"one": "a", "two": "b"}),
        ("one:a\ntwo-2:b\n\n", {"one": "a", "two-2": "b"}),
    ],
)
def test_labelled_keys_keep_their_order(text, found):
    assert list(parse(text).items()) == list(found.items())


@pytest.mark.parametrize(
    "text",
    ["a-key", "one:", ":key", "One:key", "one:a,one:b", "one:a\x00b", "one:clé", "a" * 31 + ":k"],
)
def test_error_about_an_invalid_key_does_not_repeat_the_key(text):
    with pytest.raises(MalformedSecrets) as refused:
        parse(text)

    assert "key" not in str(refused.value).replace("label", "")


def test_changed_key_file_is_loaded_and_an_invalid_one_is_ignored(tmp_path):
    file = tmp_path / "keys"
    file.write_text("one:a")
    keys = KeyRing({"default": "z"}, file=file)
    assert (keys.labels(), keys.secret("one")) == (["default", "one"], "a")

    # As a mounted secret changes: another file takes the name.
    successor = tmp_path / "successor"
    successor.write_text("one:b\ntwo:c")
    os.replace(successor, file)
    assert (keys.labels(), keys.secret("one")) == (["default", "one", "two"], "b")

    file.write_text("no keys at all, and longer than before")
    assert keys.secret("two") == "c"
    file.unlink()
    assert keys.secret("two") == "c"


def test_submissions_of_a_removed_key_use_the_first_key():
    assert KeyRing({"one": "a", "two": "b"}).secret("gone") == "a"
    assert KeyRing({}).secret("gone") == ""
    assert not KeyRing({})
