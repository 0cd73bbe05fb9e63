"""Base classes and helpers of the admin's pages: read-only pages, search by id, links, badges."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action as unfold_action
from unfold.enums import ActionVariant

from accounts.models import Device, User
from adminops.actions.audit import has_permission
from adminops.admin.action_pages import ReasonForm, refusal_message
from adminops.models import AdminAction, PendingApproval
from adminops.support.masking import BULLETS, CodeMask, masked, may_see_codes, may_see_sensitive
from rendio.common.errors import Refusal
from rendio.common.ids import uuid7
from rendio.common.text.collation import AsRead, sort_key

# unfold's classes are Django's with another look, and come without types.
if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, StackedInline, TabularInline
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.admin import ModelAdmin, StackedInline, TabularInline
    from unfold.views import ChangeList

__all__ = [
    "ActionVariant",
    "ModelAdmin",
    "ReadOnlyAdmin",
    "SortedValuesFilter",
    "StackedInline",
    "SupportAdmin",
    "TabularInline",
    "action_button",
    "badge",
    "link",
    "link_to",
    "links",
    "pending_message",
    "status_badge",
    "user_link",
]

Method = TypeVar("Method", bound=Callable[..., Any])


class _SupportChangeList(ChangeList):
    def get_ordering_field(self, field_name: Any) -> Any:
        """The field that a click on the column's header sorts by."""
        field = super().get_ordering_field(field_name)
        collated: tuple[str, ...] = cast("SupportAdmin", self.model_admin).collated_fields
        return AsRead(field) if isinstance(field, str) and field in collated else field


class SortedValuesFilter(admin.AllValuesFieldListFilter):
    """A filter by the values of a text column, sorted alphabetically."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        values = sorted(self.lookup_choices, key=lambda value: sort_key(value or ""))
        self.lookup_choices = values  # type: ignore[assignment]  # any iterable will do


class SupportAdmin(ModelAdmin):
    """A page with a search by id and by a few text fields.

    `id_search` are UUID columns. `text_search` are lookups as in Django's `search_fields`.
    """

    id_search: tuple[str, ...] = ("id",)
    text_search: tuple[str, ...] = ()
    # Saves a count of the whole table.
    show_full_result_count = False
    list_per_page = 50

    actions_detail: tuple[str, ...] = ()
    # Masked for staff without the permission SEE_SENSITIVE.
    sensitive_fields: tuple[str, ...] = ()
    # Text columns that are sorted alphabetically, case ignored. For short tables only.
    collated_fields: tuple[str, ...] = ()
    # Fields whose text may contain promotion codes.
    code_fields: tuple[str, ...] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return _SupportChangeList

    def get_list_display(self, request: HttpRequest) -> Any:
        return self.visible_fields(request, super().get_list_display(request))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [
            (title, {**options, "fields": self.visible_fields(request, options["fields"])})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def visible_fields(self, request: HttpRequest, names: Any) -> Any:
        """The same field names, nested lines included. A field that this member of staff may not
        see is replaced by a masked column."""
        return tuple(
            self._visible_field(request, name)
            if isinstance(name, str)
            else self.visible_fields(request, name)
            for name in names
        )

    def _visible_field(self, request: HttpRequest, name: str) -> Any:
        if name in self.sensitive_fields and not may_see_sensitive(request.user):
            return masked_field(name, is_field=not hasattr(self, name))
        if name in self.code_fields and not may_see_codes(request.user):
            return code_masked_field(name)
        return name

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow only the filters that the page shows. Other lookups would disclose masked values
        letter by letter. NUL characters are refused because PostgreSQL does not store them."""
        if "\0" in value:
            return False
        filters = {_filter_name(item) for item in self.list_filter}
        return lookup.split("__")[0] in filters and super().lookup_allowed(lookup, value, request)

    def available_actions(self, request: HttpRequest, row: Any) -> Collection[str]:
        """The names in `actions_detail` that apply to the row. The services check again."""
        return self.actions_detail

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        row = self.get_object(request, object_id)
        if row is None:
            return []
        prefix = f"{self.opts.app_label}_{self.opts.model_name}_"
        available = {prefix + name for name in self.available_actions(request, row)}
        buttons: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        return [button for button in buttons if button.action_name in available]

    def action_page(
        self,
        request: HttpRequest,
        row: Any,
        perform: Callable[..., Any],
        *,
        title: str,
        explanation: str,
        success: str | Callable[[Any], str],
        button: str = "",
        form_class: type[ReasonForm] = ReasonForm,
        dangerous: bool = False,
        initial: dict[str, Any] | None = None,
        details: list[tuple[str, Any]] | None = None,
        **arguments: Any,
    ) -> HttpResponse:
        """Show the form of an action; on submit, perform the action and go back to the row's page.

        `row` is None for an action on no row, which goes back to the list. `perform` is the
        service: it gets a StaffAction, `arguments`, and the form's other values. `success` is the
        message afterwards, or makes it from the service's result. `initial` are the form's first
        values; `details`, (name, value), are shown above the form.
        """
        form = form_class(request.POST or None, initial={"form_id": uuid7(), **(initial or {})})
        page = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        row_url = reverse(f"{page}_change", args=[row.pk]) if row else reverse(f"{page}_changelist")
        if request.method == "POST" and form.is_valid():
            staff_action, values = form.staff_action(request), form.values()
            try:
                result = perform(staff_action, **values, **arguments)
            except Refusal as refusal:
                messages.error(request, refusal_message(refusal))
            else:
                messages.success(request, _success_message(result, success))
                return HttpResponseRedirect(row_url)
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "explanation": explanation,
            "details": details or [],
            "button": button or title,
            "dangerous": dangerous,
            "form": form,
            "opts": self.opts,
            "original": row,
            "row_url": row_url,
        }
        return TemplateResponse(request, "adminops/action.html", context)

    def get_row(self, request: HttpRequest, object_id: str) -> Any:
        """The row with this id. Raises Http404."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return row

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return self.text_search or self.id_search

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search for a UUID by index. Django would compare the id as text, row by row."""
        try:
            searched = UUID(search_term.strip())
        except ValueError:
            if search_term and not self.text_search:
                return queryset.none(), False
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(self.id_filter(searched)), False

    def id_filter(self, searched: UUID) -> Q:
        """The filter for a searched id. An override must not join another table: PostgreSQL has no
        index for an OR across tables."""
        return Q.create([(field, searched) for field in self.id_search], connector=Q.OR)


def _success_message(result: Any, success: str | Callable[[Any], str]) -> str:
    if isinstance(result, PendingApproval):
        return pending_message(result)
    return success if isinstance(success, str) else success(result)


def pending_message(approval: PendingApproval) -> str:
    """The message for the member of staff whose action needs an approval."""
    return f"Pending approval by a second person. {approval.approval_reason}"


def _filter_name(list_filter: Any) -> str:
    """The field or the parameter name of an item of `list_filter`."""
    if isinstance(list_filter, str):
        return list_filter
    name: str = getattr(list_filter, "parameter_name", None) or list_filter[0]
    return name


def _permission_check(action: AdminAction) -> Callable[..., bool]:
    def is_allowed(admin: SupportAdmin, request: HttpRequest, object_id: str | None = None) -> bool:
        return has_permission(request.user, action)

    return is_allowed


# unfold checks the permission of a button by a method of this name.
for _action in AdminAction:
    setattr(SupportAdmin, f"has_{_action.value}_permission", _permission_check(_action))


class ReadOnlyAdmin(SupportAdmin):
    """A read-only page. Only services change money and jobs."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = {"show_history": bool(self.actions_detail)} | (extra_context or {})
        return super().changeform_view(request, object_id, form_url, context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the audit log. Django's history would be empty: these rows are not edited."""
        return audit_log_redirect(self.audit_subject_id(self.get_row(request, object_id)))

    def audit_subject_id(self, row: Any) -> Any:
        """The `subject_id` of the audit log entries of this page's buttons."""
        return row.pk


def audit_log_redirect(subject_id: Any) -> HttpResponse:
    """Redirect to the audit log of a subject."""
    record = reverse("admin:adminops_auditlogentry_changelist")
    return HttpResponseRedirect(f"{record}?q={subject_id}")


def action_button(
    *, action: AdminAction, description: str, url_path: str, icon: str, variant: ActionVariant
) -> Callable[[Method], Method]:
    """A button on an object's page, shown to staff with the permission for `action`."""
    decorate = unfold_action(
        description=description,
        url_path=url_path,
        icon=icon,
        variant=variant,
        # With a permission's full name, unfold would query the database at import.
        permissions=[action.value],
    )
    return cast("Callable[[Method], Method]", decorate)


def link(url: str, text: Any) -> SafeString:
    return format_html('<a class="text-link" href="{}">{}</a>', url, text)


def links(pairs: list[tuple[str, Any]]) -> SafeString:
    """Links, (url, text), in one line."""
    return format_html_join(" · ", "{}", ((link(url, text),) for url, text in pairs))


def link_to(row: Model | None, text: Any = None) -> SafeString | None:
    """A link to the row's page. None for None."""
    if row is None:
        return None
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return link(reverse(name, args=[id_in_url(row)]), text if text is not None else row)


def id_in_url(row: Model) -> Any:
    """The row's id in URLs. A device has a public id there, because URLs are logged."""
    return row.public_id if isinstance(row, Device) else row.pk


def user_link(user: User | None) -> SafeString | None:
    """A short link to the page of a member of staff or to the timeline of a customer."""
    if user and user.username:
        return link_to(user, user.username)
    return timeline_link(user.id) if user else None


def timeline_link(user_id: UUID | None) -> SafeString | None:
    """A link to a customer's timeline. None for None."""
    if user_id is None:
        return None
    return link(reverse("admin:timeline", args=[user_id]), f"{str(user_id)[:8]}…")


def status_badge(user: User) -> SafeString:
    if user.closed_at:
        return badge("closed")
    if user.suspended_at:
        return badge("banned", "danger")
    if user.hardware_banned_at:
        return badge("banned device", "warning")
    return badge("active", "success")


@cache
def masked_field(name: str, *, is_field: bool) -> Callable[[Any], str | None]:
    """A column of this name with a masked value. A value that is computed by the page is replaced
    by bullets."""

    def show(row: Any) -> str | None:
        return masked(getattr(row, name)) if is_field else BULLETS

    show.__name__ = name
    show.short_description = name.replace("_", " ").capitalize()  # type: ignore[attr-defined]
    return show


@cache
def code_masked_field(name: str) -> Callable[[Any], str]:
    """A column of this name with promotion codes masked."""

    def show(row: Any) -> str:
        value = getattr(row, name)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        codes = CodeMask.for_texts(text)
        if isinstance(value, str):
            return codes.mask(value)
        return json.dumps(codes.mask_json(value), ensure_ascii=False)

    show.__name__ = name
    show.short_description = name.replace("_", " ").capitalize()  # type: ignore[attr-defined]
    return show


def badge(text: Any, colour: str = "") -> SafeString:
    """A coloured label. Colours are unfold's: info, success, warning, danger. Empty is grey."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": colour})
