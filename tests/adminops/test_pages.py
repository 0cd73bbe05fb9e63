"""The staff's pages: all of them open with data in them, and money and jobs are only looked at."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.urls import reverse
from django.utils import timezone

from accounts.models import Device, PushKind, PushToken, Session, User
from adminops.models import Alert, AuditLogEntry
from credits import services as credit_services
from credits.services import CodeTerms
from generation import spend
from generation.lifecycle import dead_letters, notifications
from generation.models import (
    BlockedTerm,
    DeadKind,
    Job,
    JobStatus,
    ProviderHealth,
    Stage,
)
from generation.moderation.blocklist import blocklist
from tests.adminops.conftest import PASSWORD, WHY, Staff, StaffAtTheForm, staff_user
from tests.adminops.test_incidents import begin, running
from tests.billing.conftest import AppStore, deliver_and_apply, update_credits
from tests.helpers.model_ids import SORA
from tests.helpers.training_pictures import record_training

LOOKED_AT = [
    "accounts_device",
    "accounts_session",
    "accounts_push",
    "accounts_pushtoken",
    "credits_wallet",
    "credits_lot",
    "credits_ledgerentry",
    "credits_redemption",
    "generation_job",
    "generation_providerrequest",
    "generation_providerroute",
    "generation_webhookdelivery",
    "generation_providerhealth",
    "generation_maintenance",
    "generation_deadletter",
    "generation_violation",
    "generation_trainedmodel",
    "generation_trainingconsent",
    "billing_purchase",
    "billing_unconfirmedpurchase",
    "billing_notification",
    "billing_unreadablepayload",
    "billing_backfillcursor",
    "billing_subscription",
    "billing_consumptionrequest",
    "billing_fraudscore",
    "adminops_auditlogentry",
    "adminops_incident",
    "adminops_pendingapproval",
    "adminops_errorlog",
    "adminops_alert",
    "generation_spendday",
]
EDITED = [
    "accounts_user",
    "auth_group",
    "billing_product",
    "generation_generationmodel",
    "generation_theme",
    "generation_blockedterm",
    "credits_promotioncode",
]


def rows(name):
    return apps.get_model(*name.split("_")).objects.all()


@pytest.fixture
def everything(root, customer_history, sandbox, settings):
    """A row of every kind that has a page."""
    settings.FRAUD_PURCHASES_PER_HOUR = 0
    store = AppStore(sandbox)
    deliver_and_apply(store.buy(phone=customer_history.phone))
    deliver_and_apply(store.subscribe(phone=customer_history.phone))
    deliver_and_apply(store.notify("CONSUMPTION_REQUEST", store.buy(phone=customer_history.phone)))
    update_credits(
        customer_history.phone, store.buy(phone=customer_history.phone, override={"bundleId": None})
    )
    store.set_outage(times=1)
    update_credits(customer_history.phone, store.buy(phone=customer_history.phone))
    ProviderHealth.objects.create(provider="fal", key_label="default")
    for kind, subject in [
        (DeadKind.JOB, customer_history.job.id),
        (DeadKind.DELIVERY, customer_history.delivery.id),
        (DeadKind.TASK, "generation.poll_due low"),
    ]:
        dead_letters.record(kind, str(subject), "It broke", now=timezone.now())
    root.call("admin-refund-credits", user_id=str(customer_history.user.id), amount=5, reason=WHY)
    root.call("admin-refund-credits", user_id=str(customer_history.user.id), amount=500, reason=WHY)
    running(customer_history.phone)
    begin(root)
    code = credit_services.create_code(
        code="SUMMER25", terms=CodeTerms(credits=20), now=timezone.now()
    )
    customer_history.phone.post("redeem-code", {"code": code.code})
    BlockedTerm.objects.create(text="bomb")
    settings.MODERATION = ["blocklist"]
    blocklist.invalidate_cache()
    customer_history.phone.generate(prompt="A bomb over the sea")
    root.call("admin-toggle-model", model_id=str(SORA), is_available=False, reason=WHY)
    Alert.objects.create(key="spend", text="Much", raised_at=timezone.now())
    spend.rollup_daily_spend(now=timezone.now() + timedelta(minutes=5))
    customer_history.phone.register_for_pushes()
    notifications.notify_user(customer_history.job, PushKind.JOB_FAILED, now=timezone.now())
    record_training(customer_history.job)
    root.call("admin-ban-user", user_id=str(customer_history.user.id), reason=WHY)
    PushToken.objects.create(  # that of before ended with the ban
        token="ab" * 32, platform="ios", user=customer_history.user, registered_at=timezone.now(),
        session=Session.objects.first(),
    )  # fmt: skip
    return customer_history


def test_every_page_is_tested():
    registered = {model._meta.label_lower.replace(".", "_") for model in admin.site._registry}

    assert registered == {*LOOKED_AT, *EDITED}


QUERIES_OF_A_LIST = 12


def test_lists_and_details_open_and_offer_the_history_where_there_are_acts(
    root, everything, subtests, django_assert_max_num_queries
):
    """The lists that grow take as many queries for many rows as for one."""
    grow = {"generation_job", "credits_ledgerentry", "accounts_user", "billing_purchase"}
    for name in [*LOOKED_AT, *EDITED]:
        with subtests.test(name):
            with django_assert_max_num_queries(QUERIES_OF_A_LIST if name in grow else 1000):
                assert root.see(f"{name}_changelist").status_code == 200
            has_acts = bool(admin.site._registry[rows(name).model].actions_detail)
            opened = rows(name)[:2]
            assert opened
            for row in opened:
                page = root.see(f"{name}_change", row.pk)
                assert page.status_code == 200
                if name in LOOKED_AT:
                    history = reverse(f"admin:{name}_history", args=[row.pk])
                    assert (history in page.content.decode()) == has_acts


def test_history_links_to_the_audit_log(root, everything, subtests):
    second = Staff(staff_user("second", is_superuser=True))
    acts = {
        "accounts_user": ("unban", everything.user, {}),
        "generation_job": ("fail", Job.objects.exclude(stage=Stage.DONE).get(), {}),
        "adminops_pendingapproval": ("decline", rows("adminops_pendingapproval").get(), {}),
        "generation_violation": ("clear", rows("generation_violation").get(), {}),
        "billing_consumptionrequest": (
            "override_preference", rows("billing_consumptionrequest").get(), {"policy": "decline"},
        ),
    }  # fmt: skip
    for name, (act, row, fields) in acts.items():
        with subtests.test(name):
            second.act(f"{name}_{act}", row.pk, reason=WHY, **fields)

            history = root.see(f"{name}_history", row.pk)

            done = AuditLogEntry.objects.filter(actor=second.user).latest("at")
            assert done.id in found(root.client.get(history.url))


def test_nothing_is_added_changed_or_deleted_by_hand(root, everything, rf, subtests):
    """A search for something else than an id finds nothing."""
    request = rf.get("/", {"q": "no such thing 🎈"})
    request.user = root.user
    for name in LOOKED_AT:
        with subtests.test(name):
            assert_only_shown(root, name)
        with subtests.test("search", name=name):
            model_admin = admin.site._registry[rows(name).model]
            assert not model_admin.get_changelist_instance(request).result_list


def assert_only_shown(root, name):
    before = list(rows(name).order_by("pk").values())
    row = rows(name).first()

    refused = [
        root.submit(f"{name}_add"),
        root.submit(f"{name}_change", row.pk, balance="1000000", status="completed"),
        root.submit(f"{name}_delete", row.pk, post="yes"),
    ]
    root.submit(
        f"{name}_changelist", action="delete_selected", _selected_action=str(row.pk), post="yes"
    )

    assert [answer.status_code for answer in refused] == [403] * 3
    assert list(rows(name).order_by("pk").values()) == before


def test_users_models_themes_and_codes_are_never_deleted(root, phone, subtests):
    credit_services.create_code(code="SUMMER25", terms=CodeTerms(credits=20), now=timezone.now())
    for name in [
        "accounts_user",
        "generation_generationmodel",
        "generation_theme",
        "credits_promotioncode",
    ]:
        with subtests.test(name):
            row = rows(name).first()

            assert root.submit(f"{name}_delete", row.pk, post="yes").status_code == 403
            assert rows(name).filter(pk=row.pk).exists()


def test_pages_need_a_member_of_staff(client, db):
    for name in [*LOOKED_AT, *EDITED]:
        answer = client.get(reverse(f"admin:{name}_changelist"))
        assert answer.status_code == 302
        assert answer["Location"].startswith(reverse("admin:login"))


def test_staff_see_only_permitted_pages(db):
    staff = Staff(staff_user("tom", "credits.view_wallet"))

    assert staff.see("credits_wallet_changelist").status_code == 200
    assert staff.see("generation_job_changelist").status_code == 403


def test_hashes_and_tokens_are_nowhere_to_be_seen(root, customer_history):
    session = Session.objects.filter(user=customer_history.user).get()
    secrets = {
        reverse("admin:accounts_session_change", args=[session.id]): session.refresh_hash,
        reverse(
            "admin:generation_providerrequest_change", args=[customer_history.request.id]
        ): customer_history.request.webhook_token,
        reverse("admin:accounts_user_change", args=[root.user.id]): root.user.password,
    }
    for url, secret in secrets.items():
        assert secret
        assert secret not in root.client.get(url).content.decode()


# --- Finding ------------------------------------------------------------------------------------


def found(answer):
    assert answer.status_code == 200
    return {row.pk for row in answer.context["cl"].result_list}


def test_a_user_is_found_by_id_device_email_and_name(root, customer_history):
    User.objects.filter(id=customer_history.user.id).update(email="Zoe@example.com")
    device = Device.objects.get(user=customer_history.user)

    for term in [str(customer_history.user.id), str(device.device_id), "zoe@example.com"]:
        assert found(root.see("accounts_user_changelist", q=term)) == {customer_history.user.id}
    assert found(root.see("accounts_user_changelist", q="roo")) == {root.user.id}
    for term in ["zoe@", "nobody at all"]:
        assert found(root.see("accounts_user_changelist", q=term)) == set()


def test_users_are_filtered_by_standing_guest_and_staff(root, customer_history):
    root.call("admin-ban-user", user_id=str(customer_history.user.id), reason=WHY)

    for query in [{"standing": "banned"}, {"is_guest__exact": "1"}, {"is_staff__exact": "0"}]:
        assert found(root.see("accounts_user_changelist", **query)) == {customer_history.user.id}
    assert found(root.see("accounts_user_changelist", standing="good")) == {root.user.id}
    assert found(root.see("accounts_user_changelist", standing="closed")) == set()


def test_a_job_is_found_by_id_user_and_providers_request(root, customer_history):
    other = Job.objects.get(id=customer_history.phone.generate().json()["job_id"])

    for term in [str(customer_history.job.id), customer_history.request.provider_request_id]:
        assert found(root.see("generation_job_changelist", q=term)) >= {customer_history.job.id}
    assert found(root.see("generation_job_changelist", q=str(customer_history.user.id))) == {
        customer_history.job.id,
        other.id,
    }
    failed = root.see("generation_job_changelist", status__exact=JobStatus.FAILED)
    assert found(failed) == {customer_history.job.id}


def test_entries_are_found_by_job_user_and_wallet(root, customer_history):
    wallet = rows("credits_wallet").get(user=customer_history.user)
    entries = {entry.kind: entry.id for entry in wallet.entries.all()}

    of_job = found(root.see("credits_ledgerentry_changelist", q=str(customer_history.job.id)))
    assert of_job == {entries["charge"], entries["refund"]}
    for term in [customer_history.user.id, wallet.id]:
        assert found(root.see("credits_ledgerentry_changelist", q=str(term))) == set(
            entries.values()
        )


def test_a_pushs_page_leads_to_its_job_and_to_the_incident(root, customer_history):
    customer_history.phone.register_for_pushes()
    incident_id = uuid4()
    notifications.notify_user(customer_history.job, PushKind.JOB_FAILED, now=timezone.now())
    notifications.notify_user(
        customer_history.job, PushKind.CREDITS_RETURNED, now=timezone.now(), subject_id=incident_id
    )

    pages = {
        push.kind: root.see("accounts_push_change", push.pk).content.decode()
        for push in rows("accounts_push")
    }

    job = reverse("admin:generation_job_change", args=[customer_history.job.id])
    incident = reverse("admin:adminops_incident_change", args=[incident_id])
    assert [job in page for page in pages.values()] == [True, True]
    assert {kind for kind, page in pages.items() if incident in page} == {PushKind.CREDITS_RETURNED}


def test_a_filter_by_what_is_no_text_is_refused(root, customer_history):
    for name, lookup in [
        ("generation_job", "status__exact"),
        ("accounts_user", "standing"),
        ("adminops_errorlog", "code"),
    ]:
        assert root.see(f"{name}_changelist", **{lookup: "a\0b"}).status_code == 400


def test_a_jobs_page_leads_to_its_user_requests_and_entries(root, customer_history):
    page = root.see("generation_job_change", customer_history.job.id).content.decode()

    assert reverse("admin:timeline", args=[customer_history.user.id]) in page
    assert (
        reverse("admin:generation_providerrequest_change", args=[customer_history.request.id])
        in page
    )
    for entry in rows("credits_ledgerentry").filter(job_id=customer_history.job.id):
        assert reverse("admin:credits_ledgerentry_change", args=[entry.id]) in page


# --- Staff accounts ------------------------------------------------------------------------------


def test_a_superuser_adds_a_member_of_staff(root):
    answer = root.submit(
        "accounts_user_add",
        username="nina",
        password1=PASSWORD,
        password2=PASSWORD,
        usable_password="true",
    )

    assert answer.status_code == 302
    nina = User.objects.get(username="nina")
    assert (nina.is_staff, nina.is_guest, nina.is_superuser) == (True, False, False)
    assert StaffAtTheForm(nina).see("index").status_code == 200


def test_a_member_of_staff_has_a_name_that_can_be_seen(root):
    answer = root.submit(
        "accounts_user_add",
        username="\u3164\u3164",
        password1=PASSWORD,
        password2=PASSWORD,
        usable_password="true",
    )

    assert "visible" in str(answer.context["adminform"].form.errors["username"])
    assert not User.objects.filter(username="\u3164\u3164").exists()


def test_a_superuser_changes_a_password(root):
    nina = staff_user("nina")

    answer = root.submit(
        "auth_user_password_change",
        nina.id,
        password1="another long password",
        password2="another long password",
        usable_password="true",
    )

    assert answer.status_code == 302
    nina.refresh_from_db()
    assert nina.check_password("another long password")


def test_support_cannot_make_itself_a_superuser(support):
    attempts = [
        support.submit("accounts_user_change", support.user.id, is_superuser="on", username="sam"),
        support.submit("accounts_user_add", username="x", password1=PASSWORD, password2=PASSWORD),
        support.submit(
            "auth_user_password_change",
            staff_user("boss", is_superuser=True).id,
            password1=PASSWORD * 2,
            password2=PASSWORD * 2,
        ),
        support.submit("auth_group_add", name="All of it"),
    ]

    assert [answer.status_code for answer in attempts] == [403] * 4
    support.user.refresh_from_db()
    assert not support.user.is_superuser


def test_a_customer_is_not_edited_by_a_form(root, customer_history):
    answer = root.submit(
        "accounts_user_change", customer_history.user.id, is_staff="on", username="x"
    )

    assert answer.status_code == 403


def test_the_environment_is_on_the_page(root, settings):
    assert "Development" in root.see("index").content.decode()
    settings.PRODUCTION = True
    assert "Production" in root.see("index").content.decode()


def test_a_phones_push_token_is_shown_to_nobody(root, phone):
    token = phone.register_for_pushes()
    [row] = PushToken.objects.all()

    pages = [
        root.see("accounts_pushtoken_changelist"),
        root.see("accounts_pushtoken_change", row.pk),
    ]

    for page in pages:
        assert token[-4:] in page.content.decode()
        assert token not in page.content.decode()
    session = reverse("admin:accounts_session_change", args=[row.session_id])
    assert session in pages[1].content.decode()
