"""What callers were refused, to be looked at."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts.models import User
from adminops.admin.base import ReadOnlyAdmin, badge, link_to
from adminops.models import ErrorLog
from rendio.common.errors import all_refusals, refusal_by_code


class CodeFilter(admin.SimpleListFilter):
    """By code, from the catalogue: to ask the table which it has would read all of it."""

    title = parameter_name = "code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(refusal.code, f"{refusal.code} {refusal.type}") for refusal in all_refusals()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(code=self.value()) if self.value() else queryset


@admin.register(ErrorLog)
class ErrorLogAdmin(ReadOnlyAdmin):
    list_display = ("at", "code_label", "endpoint", "who", "request_id")
    list_filter = (CodeFilter,)
    ordering = ("-id",)
    id_search = ("user_id",)
    text_search = ("request_id__exact",)
    search_help_text = "The id of a user, or of a request as the customer's error shows it."
    fields = ("at", "code_label", "endpoint", "who", "request_id")

    def id_filter(self, searched: UUID) -> Q:
        # A phone may have written its request's id in capitals.
        said = [str(searched), str(searched).upper()]
        return super().id_filter(searched) | Q(request_id__in=said)

    @admin.display(description="Refusal", ordering="code")
    def code_label(self, error: ErrorLog) -> SafeString:
        name = refusal_by_code(error.code).type
        colour = "danger" if error.status >= 500 else "warning"
        return badge(f"{error.code} {name} ({error.status})", colour)

    @admin.display(description="User")
    def who(self, error: ErrorLog) -> SafeString | None:
        # By its id alone: a page of fifty must not be fifty queries.
        return link_to(User(id=error.user_id), error.user_id) if error.user_id else None
