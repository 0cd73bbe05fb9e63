"""The catalogue is edited in the admin, and what would break it is refused with words."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest

from adminops.models import AdminAction, AuditLogEntry, PendingApproval
from generation.models import BlockedTerm, GenerationModel, ProviderRoute, Theme
from tests.adminops.conftest import WHY, Staff, get_log_entry, staff_user
from tests.helpers.model_ids import SORA

SORA_PRO = "00000000-0000-4000-8000-000000000005"


def as_sent(form):
    """A form's fields as a browser sends them."""
    values = {}
    for field in form:
        value = field.value()
        if value is True:
            value = "on"
        if value is not None and value is not False:
            values[field.html_name] = value
    return values


def sent_by_page(staff, name, row_id):
    """The fields that a browser sends when the page of a model or theme is saved unchanged."""
    context = staff.see(f"{name}_change", row_id).context
    fields = as_sent(context["adminform"].form)
    for inline in context["inline_admin_formsets"]:
        fields |= as_sent(inline.formset.management_form)
        for form in inline.formset.forms:
            fields |= as_sent(form)
    return {**fields, "reason": WHY}


@pytest.fixture
def edit(root, django_capture_on_commit_callbacks):
    """Change some fields of a model's or theme's page and save."""

    def save(name, row_id, /, **changes):
        fields = sent_by_page(root, name, row_id)
        with django_capture_on_commit_callbacks(execute=True):
            return root.submit(f"{name}_change", row_id, **{**fields, **changes})

    return save


def problems(answer):
    assert answer.status_code == 200
    context = answer.context
    told = dict(context["adminform"].form.errors)
    for inline in context["inline_admin_formsets"]:
        for form in inline.formset.forms:
            told |= dict(form.errors)
    return {name: " ".join(errors) for name, errors in told.items()}


def test_a_new_price_shows_at_once(edit, phone):
    answer = edit("generation_generationmodel", SORA, base_price_usd="0.48")

    assert answer.status_code == 302
    [sora] = [
        model for model in phone.get("get-models").json()["models"] if model["id"] == str(SORA)
    ]
    assert sora["base_price"] == 0.48
    assert (
        phone.post("quote-video", {"model_id": str(SORA), "prompt": "Waves"}).json()["credits"] == 5
    )


def test_an_edit_is_on_record_with_its_reason_and_the_row_before_and_after(root, edit):
    edit("generation_generationmodel", SORA, base_price_usd="0.48", **{"routes-0-position": "2"})

    log_entry = get_log_entry(SORA)
    assert (log_entry.action, log_entry.actor, log_entry.reason) == (
        AdminAction.EDIT_MODEL,
        root.user,
        WHY,
    )
    before, after = log_entry.before["row"], log_entry.after["row"]
    assert (before["base_price_usd"], after["base_price_usd"]) == ("0.4000", "0.4800")
    [route_id] = after["routes"]
    assert before["routes"][route_id] == {**after["routes"][route_id], "position": 1}
    history = root.see("generation_generationmodel_history", SORA)
    assert log_entry.id in [
        row.pk for row in root.client.get(history.url).context["cl"].result_list
    ]


def test_an_edit_needs_a_reason(edit):
    answer = edit("generation_generationmodel", SORA, base_price_usd="0.48", reason="")

    assert "required" in problems(answer)["reason"]
    assert str(GenerationModel.objects.get(id=SORA).base_price_usd) == "0.4000"


def test_a_form_sent_twice_edits_once(edit):
    theme = Theme.objects.filter(model_id=SORA).first()
    form_id = str(uuid4())

    edit("generation_theme", theme.id, name="First", form_id=form_id)
    edit("generation_theme", theme.id, name="Second", form_id=form_id)

    theme.refresh_from_db()
    assert theme.name == "First"
    assert get_log_entry(theme.id).id == UUID(form_id)


def test_a_large_edit_is_made_once_a_second_person_approves_it(edit, second, phone):
    edit("generation_generationmodel", SORA, base_price_usd="0.80")
    approval = PendingApproval.objects.get()
    page = second.see("adminops_pendingapproval_change", approval.id).content.decode()

    second.act("adminops_pendingapproval_approve", approval.id, reason="As we agreed")

    assert "base_price_usd: 0.4000 → 0.8000" in page
    assert "one person may change it by at most 25 %" in page
    assert str(GenerationModel.objects.get(id=SORA).base_price_usd) == "0.8000"
    log_entry = AuditLogEntry.objects.get(action=AdminAction.APPROVE)
    assert (log_entry.actor, log_entry.subject_type, log_entry.subject_id) == (
        second.user,
        "model",
        SORA,
    )
    # From what two people agreed on, one person goes on alone.
    edit("generation_generationmodel", SORA, base_price_usd="0.90")
    assert str(GenerationModel.objects.get(id=SORA).base_price_usd) == "0.9000"


def test_an_edit_of_a_row_that_was_edited_since_is_asked_for_anew(edit, second):
    edit("generation_generationmodel", SORA, base_price_usd="0.80")
    edit("generation_generationmodel", SORA, description="Another")

    page = second.act(
        "adminops_pendingapproval_approve", PendingApproval.objects.get().id, reason=WHY
    )

    assert "The row was edited since" in page.content.decode()
    assert str(GenerationModel.objects.get(id=SORA).base_price_usd) == "0.4000"


def test_without_a_margin_one_person_edits_alone(edit, settings):
    settings.SUPPORT_PRICE_CHANGE_PERCENT = 0

    edit("generation_generationmodel", SORA, base_price_usd="4")

    assert str(GenerationModel.objects.get(id=SORA).base_price_usd) == "4.0000"


@pytest.fixture
def second(db):
    return Staff(staff_user("fay", role="finance"))


def test_saving_unchanged_changes_nothing(edit):
    before = (
        list(GenerationModel.objects.order_by("id").values()),
        list(ProviderRoute.objects.order_by("id").values()),
    )

    for model in GenerationModel.objects.order_by("kind").distinct("kind"):
        assert edit("generation_generationmodel", model.id).status_code == 302

    after = (
        list(GenerationModel.objects.order_by("id").values()),
        list(ProviderRoute.objects.order_by("id").values()),
    )
    assert after == before


def test_a_route_is_edited_with_its_model(edit):
    answer = edit("generation_generationmodel", SORA, **{"routes-0-cost_usd": "0.12"})

    assert answer.status_code == 302
    assert str(ProviderRoute.objects.get(model_id=SORA).cost_usd) == "0.1200"


def test_being_on_sale_is_not_a_field(edit):
    answer = edit("generation_generationmodel", SORA, is_available="")

    assert answer.status_code == 302
    assert GenerationModel.objects.get(id=SORA).is_available


def test_a_new_model_waits_for_a_second_person_and_is_off_sale_then(root, second):
    fields = {
        "name": "Wan",
        "category": "playful",
        "kind": "text-to-video",
        "pricing_type": "fixed",
        "base_price_usd": "0.50",
        "settings": '{"resolution": {"allowed": ["720p"], "default": "720p"}}',
        "multipliers": "",
        "routes-TOTAL_FORMS": "1",
        "routes-INITIAL_FORMS": "0",
        "routes-0-provider": "fal",
        "routes-0-provider_model_id": "fal-ai/wan",
        "routes-0-position": "1",
        "routes-0-weight": "1",
        "routes-0-is_enabled": "on",
        "routes-0-cost_usd": "0.20",
        "routes-0-cost_unit": "piece",
        "routes-0-input_cost_usd": "0",
        "routes-0-max_input_megapixels": "1",
        "routes-0-parameters": '{"prompt": {"name": "prompt"}}',
        "routes-0-constants": "",
        "routes-0-cost_multipliers": "",
    }

    answer = root.submit(
        "generation_generationmodel_add",
        **fields,
        is_available="on",
        reason=WHY,
        form_id=str(uuid4()),
    )

    assert answer.status_code == 302, problems(answer)
    assert not GenerationModel.objects.filter(name="Wan").exists()
    approval = PendingApproval.objects.get()
    assert second.see("adminops_pendingapproval_change", approval.id).status_code == 200
    second.act("adminops_pendingapproval_approve", approval.id, reason=WHY)
    wan = GenerationModel.objects.get(name="Wan")
    assert not wan.is_available
    assert wan.multipliers == {}
    assert (wan.routes.get().constants, wan.routes.get().is_enabled) == ({}, True)
    assert second.see("adminops_pendingapproval_change", approval.id).status_code == 200


WOULD_BREAK_THE_CATALOGUE = [
    ({"settings": "[]"}, "settings", "Enter a JSON object"),
    ({"settings": "{}"}, "settings", "required"),
    ({"settings": "{"}, "settings", "valid JSON"),
    ({"settings": {"duration": [4, 8]}}, "settings", "duration: use"),
    ({"settings": {"duration": {"allowed": [], "default": 4}}}, "settings", "at least one"),
    ({"settings": {"duration": {"allowed": [4], "default": 8}}}, "settings", "default 8"),
    ({"settings": {"duration": {"allowed": [4], "default": "4"}}}, "settings", "default 4"),
    ({"settings": {"duration": {"allowed": ["4s"], "default": "4s"}}}, "settings", "seconds"),
    ({"settings": {"duration": {"allowed": [4, 4], "default": 4}}}, "settings", "duplicate"),
    ({"settings": {"duration": {"allowed": [True], "default": True}}}, "settings", "texts"),
    ({"settings": {"prompt": {"allowed": ["x"], "default": "x"}}}, "settings", "not a valid"),
    ({"settings": {"size": {"allowed": ["x"], "default": "x"}}}, "settings", "by duration"),
    ({"settings": '{"a": {"allowed": [NaN], "default": 1}}'}, "settings", "finite"),
    ({"settings": '{"a": {"allowed": ["\\u0000"], "default": 1}}'}, "settings", "NUL"),
    ({"multipliers": {"resolution": {"720p": "cheap"}}}, "multipliers", "must be a number"),
    ({"multipliers": {"resolution": {"720p": "NaN"}}}, "multipliers", "must be a number"),
    ({"multipliers": {"resolution": {"720p": -1}}}, "multipliers", "must be a number"),
    ({"multipliers": {"resolution": {"720p": "1e9999"}}}, "multipliers", "must be a number"),
    ({"multipliers": {"resolution": {"1080": 2}}}, "multipliers", "1080 is not among"),
    ({"multipliers": {"resolution": 2}}, "multipliers", "use an object"),
    ({"multipliers": {"colour": {"red": 2}}}, "multipliers", "no setting with this name"),
    ({"name": "\u3164\u200b"}, "name", "at least 1 visible"),
    ({"category": "\u2800"}, "category", "at least 1 visible"),
    ({"reason": "\u3164" * 5}, "reason", "at least 3 visible"),
    ({"settings": '{"\\u200b": {"allowed": [1], "default": 1}}'}, "settings", "not a valid"),
    ({"base_price_usd": "0"}, "base_price_usd", "between 0.01 and 1000"),
    ({"is_default": "on"}, "is_default", "Veo 3.1 is already the default"),
    ({"routes-0-provider": "acme"}, "provider", "Must be one of fal"),
    ({"routes-0-cost_usd": "-1"}, "cost_usd", "at least 0"),
    ({"routes-0-input_cost_usd": "-1"}, "input_cost_usd", "greater than or equal to 0"),
    ({"routes-0-max_input_megapixels": "0"}, "max_input_megapixels", "greater than or equal to 1"),
    ({"routes-0-parameters": {"duration": {"name": "d"}}}, "parameters", "prompt is missing"),
    ({"routes-0-parameters": {"prompt": {}, "fps": {}}}, "parameters", "fps: must be one of"),
    ({"routes-0-parameters": {"prompt": "prompt"}}, "parameters", "use {"),
    ({"routes-0-parameters": {"prompt": {"name": 1}}}, "parameters", "must be texts"),
    ({"routes-0-parameters": {"prompt": {"format": "{x}"}}}, "parameters", "{} once"),
    ({"routes-0-parameters": {"prompt": {"format": "{}{0}"}}}, "parameters", "{} once"),
    ({"routes-0-parameters": {"prompt": {"object": {"path": 1}}}}, "parameters", '"{}" once'),
    ({"routes-0-parameters": {"prompt": {"changes": "black"}}}, "parameters", "use {"),
    ({"routes-0-cost_multipliers": {"fps": {}}}, "cost_multipliers", "no setting"),
    ({"routes-0-training": {"base_family": "x"}}, "training", "must be one of base_families"),
    ({"routes-0-training": {"base_families": "x"}}, "training", "not a valid value"),
    ({"routes-0-training": {"base_families": ["x"]}}, "training", "need weights_url"),
    ({"routes-0-limits": {"fps": [24]}}, "limits", "no setting with this name"),
    ({"routes-0-limits": {"duration": 4}}, "limits", "use a list"),
    ({"routes-0-limits": {"duration": [4, 5]}}, "limits", "5 is not among"),
    ({"routes-0-weight": "0"}, "weight", "greater than or equal to 1"),
]  # fmt: skip


# Checked against the settings of the model, so sent with good ones.
NEED_SETTINGS = {"multipliers", "parameters", "cost_multipliers", "limits"}


def submitted_together(rows):
    """The rows in batches: one for each field at most, so that none hides the error of another."""
    batches = []
    for changes, field, words in rows:
        for batch in batches:
            fields = {other for _, other, _ in batch}
            is_apart = field == "settings" and fields & NEED_SETTINGS
            is_apart = is_apart or (field in NEED_SETTINGS and "settings" in fields)
            if field not in fields and not is_apart:
                batch.append((changes, field, words))
                break
        else:
            batches.append([(changes, field, words)])
    return batches


def test_invalid_catalogue_rows_are_refused(root, phone, subtests):
    fields = sent_by_page(root, "generation_generationmodel", SORA)
    for batch in submitted_together(WOULD_BREAK_THE_CATALOGUE):
        sent = {
            name: value if isinstance(value, str) else json.dumps(value)
            for changes, _, _ in batch
            for name, value in changes.items()
        }
        told = problems(
            root.submit("generation_generationmodel_change", SORA, **{**fields, **sent})
        )
        for changes, field, words in batch:
            with subtests.test(changes=changes):
                assert words in told.get(field, ""), told
    assert phone.post("quote-video", {"model_id": str(SORA), "prompt": "Waves"}).status_code == 200


def test_a_trainer_needs_what_trainings_are_ordered_by(root, subtests):
    trainer = GenerationModel.objects.get(name="Style trainer")
    fields = sent_by_page(root, "generation_generationmodel", trainer.id)
    for changes, field, words in [
        ({"category": "landscape"}, "category", "must be one of person"),
        ({"settings": '{"pace": {"allowed": [1], "default": 1}}'}, "settings", "steps"),
        ({"routes-0-training": "{}"}, "training", "base_family is missing"),
        ({"routes-0-training": '{"base_family": "x", "min_pictures": 0}'}, "training", "min_pic"),
        ({"routes-0-parameters": '{"steps": {}}'}, "parameters", "images_zip_url is missing"),
    ]:
        with subtests.test(changes=changes):
            answer = root.submit(
                "generation_generationmodel_change", trainer.id, **{**fields, **changes}
            )

            assert words in problems(answer)[field]


def test_a_picture_must_reach_the_provider(edit):
    model = GenerationModel.objects.get(name="Sora 2 from a picture")

    answer = edit(
        "generation_generationmodel",
        model.id,
        **{"routes-0-parameters": '{"prompt": {"name": "prompt"}}'},
    )

    assert "image_url is missing" in problems(answer)["parameters"]


@pytest.mark.parametrize(
    ("relied_on", "problem"),
    [
        ({"duration": 12}, "12 is not an allowed duration."),
        ({"aspect_ratio": "9:16"}, "no setting is named aspect_ratio."),
    ],
)
def test_settings_that_a_theme_relies_on_stay(edit, relied_on, problem):
    theme = Theme.objects.filter(model_id=SORA).first()
    theme.default_settings = relied_on
    theme.save()
    settings = {"duration": {"allowed": [4, 8], "default": 4}}

    answer = edit("generation_generationmodel", SORA, settings=json.dumps(settings))

    assert f"{theme.name} has an invalid setting: {problem}" in problems(answer)["settings"]


def test_a_theme_fits_its_model(root, subtests):
    theme = Theme.objects.filter(model_id=SORA).first()
    fields = sent_by_page(root, "generation_theme", theme.id)
    for changes, field in [
        ({"default_prompt": "x"}, "default_prompt"),
        ({"default_settings": '{"duration": 5}'}, "default_settings"),
        ({"default_settings": '{"mood": "dark"}'}, "default_settings"),
        ({"name": ""}, "name"),
    ]:
        with subtests.test(changes=changes):
            answer = root.submit("generation_theme_change", theme.id, **{**fields, **changes})

            assert set(problems(answer)) == {field}


def test_lists_of_names_are_sorted_as_people_sort(root):
    words = ["Ámbar", "amber", "Çam", "cane", "Zoo"]
    Theme.objects.all().delete()
    for word in sorted(words):
        Theme.objects.create(name=word, category=word, default_prompt="A cat", model_id=SORA)
        BlockedTerm.objects.create(text=word, category=word)

    for page, name in (("generation_theme", "name"), ("generation_blockedterm", "text")):
        listed = root.see(f"{page}_changelist").context["cl"]
        assert [getattr(row, name) for row in listed.result_list] == words
        [categories] = [one for one in listed.filter_specs if one.title == "category"]
        assert list(categories.lookup_choices) == words
        # A click on a column's head, and another.
        for order, expected in (("1", words), ("-1", words[::-1])):
            listed = root.see(f"{page}_changelist", o=order).context["cl"]
            assert [getattr(row, name) for row in listed.result_list] == expected


def test_models_to_choose_from_are_sorted_as_people_sort(root):
    theme, price = root.see("generation_theme_add"), root.see("try_price")
    for form in (theme.context["adminform"].form, price.context["form"]):
        names = [str(label) for _, label in form["model"].field.choices]
        assert names.index("Sora 2 from a picture") < names.index("Sora 2 Pro")


def test_a_theme_is_taken_off_sale_at_once(edit, phone):
    theme = Theme.objects.filter(model_id=SORA).first()
    assert theme.name in phone.get("get-themes").content.decode()

    answer = edit("generation_theme", theme.id, is_available="", default_settings='{"duration": 8}')

    assert answer.status_code == 302, problems(answer)
    assert theme.name not in phone.get("get-themes").content.decode()


def test_an_address_of_an_earlier_release_leads_to_the_page(root):
    for before, after in [
        ("generation/model/", "generation/generationmodel/"),
        (f"generation/model/{SORA}/change/", f"generation/generationmodel/{SORA}/change/"),
        ("generation/route/?provider=fal", "generation/providerroute/?provider=fal"),
        ("generation/offence/", "generation/violation/"),
    ]:
        answer = root.client.get(f"/admin/{before}")

        assert (answer.status_code, answer.headers["Location"]) == (302, f"/admin/{after}")
