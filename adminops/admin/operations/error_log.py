"""The error log: refused API calls, read-only."""

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
    """A filter by error code. The codes come from the catalogue: a query for the codes in use
    would read the whole table."""

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
    search_help_text = "A user ID, or the request ID that the customer's error shows."
    fields = ("at", "code_label", "endpoint", "who", "request_id")

    def id_filter(self, searched: UUID) -> Q:
        # A phone may send its request id in capitals.
        spellings = [str(searched), str(searched).upper()]
        return super().id_filter(searched) | Q(request_id__in=spellings)

    @admin.display(description="Error", ordering="code")
    def code_label(self, error: ErrorLog) -> SafeString:
        name = refusal_by_code(error.code).type
        colour = "danger" if error.status >= 500 else "warning"
        return badge(f"{error.code} {name} ({error.status})", colour)

    @admin.display(description="User")
    def who(self, error: ErrorLog) -> SafeString | None:
        # A link by id: no query for each row.
        return link_to(User(id=error.user_id), error.user_id) if error.user_id else None
