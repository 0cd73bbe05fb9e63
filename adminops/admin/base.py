"""What the staff's pages share: looking without touching, search by id, links, coloured labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from django.contrib.auth import get_permission_codename
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.enums import ActionVariant

from accounts.models import User

# unfold's classes are Django's with another look, and come without types.
if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, StackedInline, TabularInline
else:
    from unfold.admin import ModelAdmin, StackedInline, TabularInline

__all__ = [
    "ActionVariant",
    "ModelAdmin",
    "ReadOnlyAdmin",
    "StackedInline",
    "SupportAdmin",
    "TabularInline",
    "badge",
    "link",
    "link_to",
    "links",
    "page_action",
    "person",
]

Method = TypeVar("Method", bound=Callable[..., Any])


class SupportAdmin(ModelAdmin):
    """Found by id, or by a few texts.

    `id_search` are UUID columns, `text_search` lookups as in Django's search_fields.
    """

    id_search: tuple[str, ...] = ("id",)
    text_search: tuple[str, ...] = ()
    # One count less, of the whole table.
    show_full_result_count = False
    list_per_page = 50

    def has_act_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether this member of staff may use the buttons: who may change rows of this kind, be it
        only by them."""
        return request.user.has_perm(
            f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}"
        )

    def find(self, request: HttpRequest, object_id: str) -> Any:
        """The row of an object's page. Raises Http404."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        return row

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return self.text_search or self.id_search

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """An id is looked up as an id, by index; Django itself would compare it as text, row by
        row."""
        try:
            searched = UUID(search_term.strip())
        except ValueError:
            if search_term and not self.text_search:
                return queryset.none(), False
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(self.by_id(searched)), False

    def by_id(self, searched: UUID) -> Q:
        """The rows that an id means. An override must name no other table: an OR across tables has
        no index."""
        return Q.create([(field, searched) for field in self.id_search], connector=Q.OR)


class ReadOnlyAdmin(SupportAdmin):
    """To be looked at. What moves money or jobs moves through the services alone."""

    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def page_action(
    *, description: str, url_path: str, icon: str, variant: ActionVariant
) -> Callable[[Method], Method]:
    """A button on an object's page, for whoever its admin's has_act_permission lets act."""
    decorate = action(
        description=description,
        url_path=url_path,
        icon=icon,
        variant=variant,
        # unfold's check of a permission's own name would query a database that may not be there.
        permissions=["act"],
    )
    return cast("Callable[[Method], Method]", decorate)


def link(url: str, text: Any) -> SafeString:
    return format_html('<a class="text-link" href="{}">{}</a>', url, text)


def links(pairs: list[tuple[str, Any]]) -> SafeString:
    """Several links, (url, text), in a line."""
    return format_html_join(" · ", "{}", ((link(url, text),) for url, text in pairs))


def link_to(row: Model | None, text: Any = None) -> SafeString | None:
    """The row's own page in the admin; None for None."""
    if row is None:
        return None
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return link(reverse(name, args=[row.pk]), text if text is not None else row)


def person(user: User | None) -> SafeString | None:
    """A link to a user, short enough for a column of a list."""
    if user is None:
        return None
    return link_to(user, user.username or user.email or f"{str(user.id)[:8]}…")


def badge(text: Any, colour: str = "") -> SafeString:
    """A label. Colours are unfold's: info, success, warning, danger; none is grey."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": colour})
