"""Fixtures of the adminops tests: signed-in staff, and a customer with a history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from adminops.models import AuditLogEntry
from generation.lifecycle import settle
from generation.models import Job, ProviderRequest, RequestState, WebhookDelivery
from generation.providers.base import FailureReason

PASSWORD = "a long enough password"
WHY = "The video came out black"
CSRF_TOKEN = "c" * 32


class Staff:
    """A member of staff with a session. CSRF is enforced, as for a browser."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.client = Client(enforce_csrf_checks=True)
        self._sign_in()

    def _sign_in(self) -> None:
        """Begin a session without the form, which takes two requests."""
        self.client.force_login(self.user, "django.contrib.auth.backends.ModelBackend")
        self.client.cookies["csrftoken"] = CSRF_TOKEN

    @property
    def csrf_token(self) -> str:
        return self.client.cookies["csrftoken"].value

    def call(self, name: str, /, **body: Any) -> Any:
        """Post one of the JSON calls, with the CSRF token."""
        return self.client.post(
            f"/v1/{name}",
            body,
            content_type="application/json",
            headers={"X-CSRFToken": self.csrf_token},
        )

    def stats(self, user_id: Any) -> Any:
        return self.client.get("/v1/admin-user-stats", {"user_id": str(user_id)})

    def see(self, name: str, /, *args: Any, **query: Any) -> Any:
        return self.client.get(reverse(f"admin:{name}", args=args), query)

    def submit(self, name: str, /, *args: Any, **fields: Any) -> Any:
        return self.client.post(
            reverse(f"admin:{name}", args=args),
            {**fields, "csrfmiddlewaretoken": self.csrf_token},
        )

    def act(self, name: str, subject_id: Any, /, **fields: Any) -> Any:
        """Open the page of an action, fill in the form and submit; follows the redirect."""
        form = self.see(name, subject_id).context["form"]
        shown = {field.name: field.value() for field in form if field.value() is not None}
        return self.client.post(
            reverse(f"admin:{name}", args=[subject_id]),
            {**shown, **fields, "csrfmiddlewaretoken": self.csrf_token},
            follow=True,
        )


class StaffAtTheForm(Staff):
    """A member of staff who signs in by the admin's form."""

    def _sign_in(self) -> None:
        self.client.get(reverse("admin:login"))
        answer = self.client.post(
            reverse("admin:login"),
            {
                "username": self.user.username,
                "password": PASSWORD,
                "csrfmiddlewaretoken": self.csrf_token,
            },
        )
        assert answer.status_code == 302, answer.content


def staff_user(
    username: str, *permissions: str, role: str = "", is_superuser: bool = False
) -> User:
    user = User.objects.create_user(
        username, password=PASSWORD, is_staff=True, is_superuser=is_superuser
    )
    if role:
        user.groups.add(Group.objects.get(name=role))
    for permission in permissions:
        app_label, _, codename = permission.partition(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app_label, codename=codename)
        )
    return user


@pytest.fixture
def root(db: None) -> Staff:
    """A superuser."""
    return Staff(staff_user("root", is_superuser=True))


@pytest.fixture
def support(db: None) -> Staff:
    """A support lead."""
    return Staff(staff_user("sam", role="lead"))


def submitted(job: Job) -> ProviderRequest:
    """Create the row of an accepted submission, without a provider."""
    return ProviderRequest.objects.create(
        job=job,
        route=job.model.routes.get(),
        provider="fal",
        state=RequestState.ACCEPTED,
        provider_request_id=str(uuid4()),
        sent_at=timezone.now(),
    )


@dataclass
class CustomerHistory:
    """A customer with one job that failed and was refunded, and all rows it left."""

    phone: Any
    user: User
    job: Job
    request: ProviderRequest
    delivery: WebhookDelivery


@pytest.fixture
def customer_history(phone: Any) -> CustomerHistory:
    answer = phone.generate()
    assert answer.status_code == 200, answer.content
    job = Job.objects.get(id=answer.json()["job_id"])
    now = timezone.now()
    request = submitted(job)
    delivery = WebhookDelivery.objects.create(
        provider="fal", provider_request_id=request.provider_request_id, body="{}"
    )
    assert settle.fail(job, FailureReason.PROVIDER_ERROR, now=now, detail="It broke")
    job.refresh_from_db()
    request.refresh_from_db()
    return CustomerHistory(phone, User.objects.get(id=phone.user_id), job, request, delivery)


def get_log_entry(subject_id: UUID | str) -> AuditLogEntry:
    """The only audit log entry about this subject."""
    return AuditLogEntry.objects.get(subject_id=subject_id)
