"""Messages in the caller's language: which one is chosen, and that none is missing."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.test import Client
from django.utils import timezone, translation
from rest_framework import serializers

from accounts import authentication
from accounts.languages import ChangedLanguages
from credits.errors import InsufficientCredits
from rendio.common.errors import RateLimited, all_refusals
from rendio.local.data_dir import PROJECT

ENGLISH, TURKISH, SPANISH = (
    "Please sign in again.",
    "Lütfen tekrar giriş yapın.",
    "Vuelve a iniciar sesión.",
)
ENGLISH_INPUT, TURKISH_INPUT, SPANISH_INPUT = (
    "The request is not valid.",
    "İstek geçerli değil.",
    "La solicitud no es válida.",
)
TRANSLATED = ("tr", "es")
APPS = ("accounts", "billing", "credits", "generation", "rendio")


def message(answer) -> str:
    return answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, ENGLISH),
        ("tr", TURKISH),
        ("tr-TR", TURKISH),
        ("TR-tr", TURKISH),
        ("es-419,es;q=0.9", SPANISH),
        ("de, es;q=0.5, tr;q=0.8", TURKISH),
        ("tr;q=0.2, en;q=0.9", ENGLISH),
        ("tr;q=0, es;q=0.1", SPANISH),
        ("tr;q=0", ENGLISH),
        ("de, fr", ENGLISH),
        ("*", ENGLISH),
        ("", ENGLISH),
        (";;;q=,tr", ENGLISH),
        ("tr;q=high", ENGLISH),
        ("../../etc/passwd", ENGLISH),
        ("x" * 5000, ENGLISH),
        ("é, tr", ENGLISH),
    ],
)
def test_accept_language_weights_choose_the_language(db, header, expected):
    headers = {} if header is None else {"Accept-Language": header}

    answer = Client().get("/v1/get-user-profile", headers=headers)

    assert (answer.status_code, message(answer)) == (401, expected)


def test_profile_language_applies_without_a_header(phone):
    assert phone.post("update-user-profile", {"language": "es"}).status_code == 200

    assert message(phone.get("get-video-status")) == SPANISH_INPUT


def test_changed_language_applies_at_once_in_all_sessions(phone, django_assert_num_queries):
    sessions = [phone.session, phone.sign_in().session]
    for language, expected in (("es", SPANISH_INPUT), ("tr", TURKISH_INPUT), ("en", ENGLISH_INPUT)):
        phone.post("update-user-profile", {"language": language})

        for session in sessions:
            phone.session = session
            with django_assert_num_queries(1):  # the refusal is kept for support
                assert message(phone.get("get-video-status")) == expected


def test_language_change_reaches_other_processes(phone, monkeypatch):
    phone.post("update-user-profile", {"language": "es"})
    elsewhere = ChangedLanguages()
    monkeypatch.setattr(authentication, "changed", elsewhere)
    assert message(phone.get("get-video-status")) == ENGLISH_INPUT

    elsewhere.refresh(now=timezone.now())

    assert message(phone.get("get-video-status")) == SPANISH_INPUT


def test_token_issued_after_the_change_has_the_new_language(phone):
    elsewhere = ChangedLanguages()
    now = timezone.now()
    elsewhere.add(phone.user_id, "es", changed_at=now)

    assert (
        elsewhere.current(phone.user_id, token_language="tr", issued_at=now.timestamp() - 1) == "es"
    )
    assert (
        elsewhere.current(phone.user_id, token_language="tr", issued_at=now.timestamp() + 1) == "tr"
    )
    elsewhere.refresh(now=now + timedelta(hours=2))
    assert (
        elsewhere.current(phone.user_id, token_language="tr", issued_at=now.timestamp() - 1) == "tr"
    )


def test_a_header_for_one_of_our_languages_wins_over_the_profile(phone):
    phone.post("update-user-profile", {"language": "es"})
    phone.language = "tr"

    assert message(phone.get("get-video-status")) == TURKISH_INPUT
    phone.language = "de"
    assert message(phone.get("get-video-status")) == SPANISH_INPUT


def test_language_does_not_leak_into_the_next_request(db):
    Client().get("/v1/get-user-profile", headers={"Accept-Language": "tr"})

    assert message(Client().get("/v1/get-user-profile")) == ENGLISH


def test_admin_is_in_english(db):
    answer = Client().get("/admin/login/", headers={"Accept-Language": "tr"})

    assert b"Log in" in answer.content


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("refusal", all_refusals())
def test_every_code_has_its_message_in_every_language(refusal, language):
    with translation.override("en"):
        english = str(refusal.message % Anything())
    with translation.override(language):
        translated = str(refusal.message % Anything())

    assert translated != english


class Anything(dict):
    """Fills any place of a message."""

    def __missing__(self, key):
        return 2


@pytest.mark.parametrize(
    ("language", "one", "many"),
    [
        ("en", "You need 1 credit for", "You need 8 credits for"),
        ("tr", "Bunun için 1 kredi gerekiyor", "Bunun için 8 kredi gerekiyor"),
        ("es", "Necesitas 1 crédito para", "Necesitas 8 créditos para"),
    ],
)
def test_number_selects_the_plural_form(language, one, many):
    with translation.override(language):
        assert InsufficientCredits(required=1, available=0).text.startswith(one)
        assert InsufficientCredits(required=8, available=3).text.startswith(many)


def test_insufficient_credits_message_names_a_debt():
    refusal = InsufficientCredits(required=4, available=10, debt=1)

    assert refusal.text == "1 credit of a refunded purchase was spent and has to be repaid first."


def test_one_second_uses_the_singular():
    assert RateLimited(retry_after=1).text == "Too many requests. Try again in 1 second."
    assert RateLimited(retry_after=2).text == "Too many requests. Try again in 2 seconds."


# --- The files -----------------------------------------------------------------------------------


def catalog_of(language):
    with po_file(language).open("rb") as file:
        return read_po(file, locale=language)


def po_file(language) -> Path:
    return PROJECT / "locale" / language / "LC_MESSAGES" / "django.po"


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_message_of_the_code_is_translated_with_the_same_places(language):
    """`make messages` brings new ones into the file."""
    catalog = catalog_of(language)
    keywords = {"_": None, "gettext_lazy": None, "ngettext_lazy": (1, 2)}

    for app in APPS:
        found = extract_from_dir(str(PROJECT / app), [("**.py", "python")], keywords=keywords)
        for _file, _line, said, _comments, _context in found:
            ids = said if isinstance(said, tuple) else (said,)
            assert ids[0] in catalog, ids[0]
    for entry in catalog:
        if entry.id:
            ids, texts = as_tuple(entry.id), as_tuple(entry.string)
            assert all(texts), entry.id
            assert {places(text) for text in texts} == {places(text) for text in ids}


def as_tuple(one) -> tuple[str, ...]:
    return one if isinstance(one, tuple) else (one,)


def places(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"%\(\w+\)s", text))


@pytest.mark.parametrize("language", TRANSLATED)
def test_compiled_messages_match_their_sources(language):
    compiled = io.BytesIO()
    write_mo(compiled, catalog_of(language))

    assert po_file(language).with_suffix(".mo").read_bytes() == compiled.getvalue()


# --- Problems of fields ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "problems"),
    [
        ("en", ["This field is required.", "Must be a valid UUID.", "Not a valid string."]),
        ("tr", ["Bu alan zorunlu.", "Geçerli bir UUID olmalı.", "Bir metin olmalı."]),
        ("es", ["Este campo es obligatorio.", "Debe ser un UUID válido.", "Debe ser un texto."]),
    ],
)
def test_field_errors_are_in_the_callers_language(db, language, problems):
    required, not_uuid, not_text = problems

    def ask(body):
        answer = Client().post(
            "/v1/device-check",
            body,
            content_type="application/json",
            headers={"Accept-Language": language},
        )
        return answer.json()["error"]["details"]["fields"]

    assert ask({}) == {
        "device_id": [required],
        "device_token": [required],
        "installation_secret": [required],
    }
    assert ask({"device_id": 7, "device_token": 7, "installation_secret": 7}) == {
        "device_id": [not_uuid],
        "device_token": [not_text],
        "installation_secret": [not_text],
    }


def test_rest_framework_messages_are_replaced_by_our_texts():
    """Where it is not in our catalogues, its own translations would be shown."""
    import_module("rendio.urls")  # and with it all bodies
    ours = [
        body
        for body in serializers.Serializer.__subclasses__()
        if body.__module__.partition(".")[0] in APPS
        and body.__module__.endswith(".serializers")
        and body.__name__.endswith("Body")
    ]
    assert ours
    for body in ours:
        for field in fields_of(body()):
            for kind in SAID & field.error_messages.keys():
                with translation.override("en"):
                    english = str(field.error_messages[kind])
                assert english in catalog_of("es"), (body, field.field_name, kind)


# Of the rest, a body of JSON or our own stricter fields leave nothing to say.
SAID = {"required", "null", "blank", "invalid", "invalid_choice", "not_a_list", "max_length"}


def fields_of(serializer):
    for field in serializer.fields.values():
        yield field
        if child := getattr(field, "child", None):
            yield child
        if isinstance(field, serializers.Serializer):
            yield from fields_of(field)
