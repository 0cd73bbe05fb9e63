"""The permissions of each role, by page, URL and JSON call, and the data that it sees masked."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.urls import reverse
from django.utils import timezone

from accounts.models import Device, User
from adminops.auth.roles import ROLES
from adminops.models import AdminAction, Alert, AuditLogEntry, CountedDay
from generation.models import SpendDay
from tests.adminops.conftest import WHY, Staff, staff_user
from tests.billing.conftest import AppStore, update_credits
from tests.helpers.training_pictures import record_training

# The pages of the acts, and the roles that may act so beside superusers.
PAGES = {
    "accounts_user_refund": {"agent", "lead", "finance"},
    "accounts_user_adjust": {"lead", "finance"},
    "accounts_user_ban": {"agent", "lead"},
    "accounts_user_unban": {"agent", "lead"},
    "generation_generationmodel_take_off_sale": {"lead"},
    "generation_generationmodel_put_on_sale": {"lead"},
    "accounts_user_sign_out": {"agent", "lead"},
    "accounts_user_reset_second_factor": {"lead"},
    "generation_providerroute_disable": {"lead"},
    "generation_providerroute_enable": {"lead"},
    "generation_job_refund": {"agent", "lead"},
    "generation_job_fail": {"lead"},
    "generation_job_retry": {"agent", "lead"},
    "generation_webhookdelivery_reprocess": {"agent", "lead"},
    "billing_notification_reprocess": {"agent", "lead", "finance"},
    "billing_purchase_reprocess": {"agent", "lead", "finance"},
    "adminops_pendingapproval_approve": {"lead", "finance"},
    "adminops_pendingapproval_decline": {"lead", "finance"},
    "generation_providerhealth_reset": {"lead"},
    "generation_maintenance_stop_orders": {"lead"},
    "generation_maintenance_resume_orders": {"lead"},
    "generation_deadletter_retry": {"agent", "lead"},
    "generation_deadletter_dismiss": {"agent", "lead"},
    "generation_violation_clear": {"agent", "lead"},
    "credits_promotioncode_change_terms": {"lead", "finance"},
    "credits_promotioncode_stop": {"lead", "finance"},
    "credits_promotioncode_resume": {"lead", "finance"},
    "billing_purchase_assign": {"agent", "lead", "finance"},
    "billing_purchase_release": {"lead", "finance"},
    "billing_unreadablepayload_dismiss": {"lead", "finance"},
    "billing_consumptionrequest_override_preference": {"agent", "lead", "finance"},
}
CALLS = {
    "admin-refund-credits": ({"user_id": str(uuid4()), "amount": 1}, {"agent", "lead", "finance"}),
    "admin-adjust-credits": ({"user_id": str(uuid4()), "amount": 1}, {"lead", "finance"}),
    "admin-ban-user": ({"user_id": str(uuid4())}, {"agent", "lead"}),
    "admin-unban-user": ({"user_id": str(uuid4())}, {"agent", "lead"}),
    "admin-toggle-model": ({"model_id": str(uuid4()), "is_available": True}, {"lead"}),
}
# Lists that are not for all roles.
LISTS = {
    "accounts_device": {"agent", "lead"},
    "adminops_alert": {"agent", "lead", "finance"},
    "billing_notification": {"agent", "lead", "finance"},
    "billing_unreadablepayload": {"agent", "lead", "finance"},
    "generation_providerrequest": {"viewer", "agent", "lead"},
    "generation_spendday": {"lead", "finance"},
    "generation_webhookdelivery": {"agent", "lead"},
}
NOBODY = uuid4()


@pytest.fixture(params=sorted(ROLES))
def staff(request, db):
    """A member of staff of each role."""
    return Staff(staff_user(request.param, role=request.param))


def test_each_action_needs_a_role_that_has_it(staff):
    """Without the permission the refusal comes before any lookup; with it the user is not found."""
    for page, roles in PAGES.items():
        expected = 404 if staff.user.username in roles else 403
        sent = staff.submit(page, NOBODY, reason=WHY, amount="1", form_id=str(uuid4()))

        assert staff.see(page, NOBODY).status_code == expected, page
        assert sent.status_code == expected, page


def test_each_call_needs_a_role_that_has_it(staff):
    for call, (body, roles) in CALLS.items():
        expected = 404 if staff.user.username in roles else 403

        assert staff.call(call, reason=WHY, **body).status_code == expected, call
    assert staff.stats(NOBODY).status_code == 404


def test_each_list_and_row_needs_a_role_that_may_view_it(staff):
    alert = Alert.objects.create(key="one", text="One", raised_at=timezone.now())
    day = SpendDay.objects.create(
        provider="fal", date=timezone.now().date(), usd=1, counted_until=timezone.now()
    )
    rows = {"adminops_alert": alert.pk, "generation_spendday": day.pk}

    index = staff.see("index").content.decode()
    for page, roles in LISTS.items():
        expected = 200 if staff.user.username in roles else 403
        listed = f'href="{reverse(f"admin:{page}_changelist")}"'

        assert staff.see(f"{page}_changelist").status_code == expected, page
        assert (listed in index) == (expected == 200), page
        if row := rows.get(page):
            assert staff.see(f"{page}_change", row).status_code == expected, page
            assert staff.submit(f"{page}_change", row, usd="0", text="").status_code == 403, page


def test_every_action_is_in_the_table_of_pages():
    pages = {
        f"{model._meta.app_label}_{model._meta.model_name}_{button.original_function_name}"
        for model, model_admin in admin.site._registry.items()
        for button in (
            getattr(model_admin, name) for name in getattr(model_admin, "actions_detail", ())
        )
    }

    assert pages == set(PAGES)


def test_superuser_may_perform_every_action(root):
    assert {root.see(page, NOBODY).status_code for page in PAGES} == {404}


def test_staff_without_a_role_do_and_see_nothing(db):
    newcomer = Staff(staff_user("newcomer"))

    assert {newcomer.see(page, NOBODY).status_code for page in PAGES} == {403}
    assert newcomer.stats(NOBODY).status_code == 403


def test_groups_have_the_permissions_of_roles(db):
    for role, permissions in ROLES.items():
        group = Group.objects.get(name=role)
        held = {f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.all()}

        assert held == permissions, role


def test_permissions_have_the_names_that_their_models_state(db):
    """Django creates permissions, but does not rename them when a label changes."""
    stored = dict(Permission.objects.values_list("codename", "name"))

    for model in (AuditLogEntry, CountedDay):
        for codename, name in model._meta.permissions:
            assert stored[codename] == name
    assert stored["refund_credits"] == "Can refund credits"
    assert stored["view_spendday"] == "Can view daily provider spend"


def test_every_action_is_in_a_role():
    # Who may give less asks for more, and who approves may decline.
    others = {AdminAction.REQUEST_APPROVAL, AdminAction.DECLINE}
    acts = {f"adminops.{act.value}" for act in set(AdminAction) - others}
    assert acts <= set.union(*ROLES.values())


# --- What is masked -------------------------------------------------------------------------------


@pytest.fixture
def customer(phone, sandbox):
    """A user with an e-mail address, a device, and purchases with ids from Apple."""
    store = AppStore(sandbox)
    bought = [store.buy(phone=phone), store.subscribe(phone=phone)]
    for purchase in bought:
        assert update_credits(phone, purchase).status_code == 200
    User.objects.filter(id=phone.user_id).update(email="zoe@example.com")
    device = Device.objects.get(user_id=phone.user_id)
    apple = [purchase["transaction_id"] for purchase in bought]
    return phone, ["zoe@example.com", device.public_id, *apple]


def pages_of(staff, phone):
    """The text of all lists and detail pages about a customer that this role may open."""
    texts = [staff.stats(phone.user_id).content.decode()]
    for name in [
        "accounts_user",
        "accounts_session",
        "accounts_device",
        "billing_purchase",
        "billing_subscription",
        "credits_lot",
        "credits_ledgerentry",
    ]:
        rows = apps.get_model(*name.split("_")).objects.all()
        if name == "accounts_user":
            rows = rows.filter(id=phone.user_id)
        for page in [
            staff.see(f"{name}_changelist"),
            *(staff.see(f"{name}_change", row.pk) for row in rows),
        ]:
            if page.status_code == 200:
                texts.append(page.content.decode())
    return "".join(texts)


def test_viewer_sees_users_with_masked_contact_data(customer):
    phone, secrets = customer
    text = pages_of(Staff(staff_user("vera", role="viewer")), phone)

    assert str(phone.user_id) in text
    assert "••••" in text
    assert [secret for secret in secrets if secret in text] == []


def test_agent_sees_unmasked_data(customer):
    phone, secrets = customer
    text = pages_of(Staff(staff_user("ann", role="agent")), phone)

    assert [secret for secret in secrets if secret not in text] == []


def test_viewer_sees_trainings_without_their_names(customer_history, subtests):
    trained = record_training(customer_history.job)
    viewer, agent = (Staff(staff_user(role, role=role)) for role in ("viewer", "agent"))
    names = {
        ("generation_trainedmodel", trained.id): "Zoe in summer",
        ("generation_trainingconsent", trained.consent_id): "Zoe of the sea",
    }
    for (page, row), name in names.items():
        with subtests.test(page):
            assert name in agent.see(f"{page}_change", row).content.decode()
            shown = viewer.see(f"{page}_change", row)
            assert shown.status_code == 200
            assert name not in shown.content.decode()
    timeline = viewer.client.get(reverse("admin:timeline", args=[trained.user_id]))
    assert "to train on images of a person: text 2026-11, tr" in timeline.content.decode()


def test_viewer_sees_neither_prompts_nor_videos(customer_history):
    viewer = Staff(staff_user("vera", role="viewer"))

    page = viewer.see("generation_job_change", customer_history.job.id)

    assert page.status_code == 200
    assert customer_history.job.prompt not in page.content.decode()

    detail = f"422: {customer_history.job.prompt}"
    type(customer_history.request).objects.filter(id=customer_history.request.id).update(
        error_detail=detail
    )
    page = viewer.see("generation_providerrequest_change", customer_history.request.id)

    assert page.status_code == 200
    assert customer_history.job.prompt not in page.content.decode()


def test_masked_data_cannot_be_found_by_filters(customer, subtests):
    viewer = Staff(staff_user("vera", role="viewer"))

    for page, lookup in [
        ("accounts_user", {"email__startswith": "z"}),
        ("billing_purchase", {"transaction_id__startswith": "2"}),
        ("billing_purchase", {"user__email__startswith": "z"}),
        ("generation_providerrequest", {"webhook_token__startswith": "a"}),
    ]:
        with subtests.test(lookup=lookup):
            assert viewer.see(f"{page}_changelist", **lookup).status_code == 400
