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
def test_labelled_keys_are_read_in_their_order(text, found):
    assert list(parse(text).items()) == list(found.items())


@pytest.mark.parametrize(
    "text",
    ["a-key", "one:", ":key", "One:key", "one:a,one:b", "one:a\x00b", "one:clé", "a" * 31 + ":k"],
)
def test_what_is_no_labelled_key_is_refused_without_being_repeated(text):
    with pytest.raises(MalformedSecrets) as refused:
        parse(text)

    assert "key" not in str(refused.value).replace("label", "")


def test_a_changed_file_counts_at_once_and_a_broken_one_changes_nothing(tmp_path):
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


def test_a_label_that_has_gone_leaves_its_submissions_to_the_first():
    assert KeyRing({"one": "a", "two": "b"}).secret("gone") == "a"
    assert KeyRing({}).secret("gone") == ""
    assert not KeyRing({})
