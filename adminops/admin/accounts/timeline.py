"""Find anyone, and read their story: the two pages that most of support's work begins with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from adminops.admin.base import badge, link_to, status_badge, timeline_link
from adminops.admin.money.ledger import KIND_COLOURS
from adminops.support import search, timeline
from adminops.support.masking import CodeMask, masked, may_see_codes, may_see_sensitive
from rendio.common.errors import InvalidInput, NotFound

MAX_GUESTS = 20  # one for each phone that came to the account
COLOURS = {
    **KIND_COLOURS,
    "job": "info",
    "purchase": "success",
    "session": "",
    "push": "",
    "support": "warning",
}


def search_page(request: HttpRequest) -> HttpResponse:
    """The search box, and what it found; at once the story, if all of it is one user's."""
    _require_view_of_users(request)
    searched = request.GET.get("q", "").strip()
    found = search.search_all(searched)
    users = {one.user_id for one in found}
    if len(users) == 1 and (user_id := users.pop()):
        return HttpResponseRedirect(reverse("admin:timeline", args=[user_id]))
    context = {
        **admin.site.each_context(request),
        "title": "Find anyone",
        "searched": searched,
        "table": {
            "headers": ["Found", "", "Whose"],
            "rows": [
                [
                    one.row._meta.verbose_name,
                    link_to(one.row),
                    timeline_link(one.user_id) or "nobody's",
                ]
                for one in found
            ],
        },
    }
    return TemplateResponse(request, "adminops/search.html", context)


def timeline_page(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """A page of a user's story."""
    _require_view_of_users(request)
    try:
        told = timeline.get_page(user_id, before=request.GET.get("before", ""))
    except (NotFound, InvalidInput) as refusal:
        raise Http404 from refusal
    user, wallet = told.user, getattr(told.user, "wallet", None)
    email = user.email if may_see_sensitive(request.user) else masked(user.email)
    context = {
        **admin.site.each_context(request),
        "title": "Story",
        "subtitle": str(user.id),
        "person": user,
        "facts": [
            ("User", link_to(user, user.id)),
            ("E-mail", email or "none"),
            ("Balance", link_to(wallet, wallet.balance) if wallet else "no wallet"),
            ("Owes", wallet.debt if wallet else 0),
            ("Standing", status_badge(user)),
            ("Merged into", timeline_link(_successor(wallet))),
            ("Was before", _guests(wallet)),
        ],
        "table": {
            "headers": ["When, UTC", "What", "", "Credits", "Balance after"],
            "rows": [_row(event) for event in _mask_codes(request, told.events)],
        },
        "older": f"?before={told.next_cursor}" if told.next_cursor else "",
        "newest": "?" if request.GET.get("before") else "",
    }
    return TemplateResponse(request, "adminops/timeline.html", context)


def _mask_codes(request: HttpRequest, events: list[timeline.Event]) -> list[timeline.Event]:
    """The events, their promotion codes masked for who may not see these."""
    if may_see_codes(request.user):
        return events
    texts = [text for event in events for text in (event.text, *(one.text for one in event.lines))]
    codes = CodeMask.for_texts(*texts)
    return [
        replace(
            event,
            text=codes.mask(event.text),
            lines=[replace(line, text=codes.mask(line.text)) for line in event.lines],
        )
        for event in events
    ]


def _row(event: timeline.Event) -> list[Any]:
    return [
        f"{event.at:%Y-%m-%d %H:%M:%S}",
        badge(event.what, COLOURS.get(event.what, "")),
        _text(event),
        "" if event.change is None else f"{event.change:+d}",
        event.balance,
    ]


def _text(event: timeline.Event) -> SafeString:
    lines = format_html_join(
        "",
        '<div class="text-font-subtle-light dark:text-font-subtle-dark">{} {}</div>',
        ((f"{line.at:%H:%M:%S}", link_to(line.row, line.text)) for line in event.lines),
    )
    return format_html("<div>{}{}</div>", link_to(event.row, event.text or event.what), lines)


def _successor(wallet: Any) -> UUID | None:
    """The user whom this one became part of."""
    return wallet.merged_into.user_id if wallet and wallet.merged_into_id else None


def _guests(wallet: Any) -> SafeString | None:
    """The guests who have become this account: what they bought and spent before is their story."""
    if wallet is None:
        return None
    guests = wallet.wallet_set.exclude(user=None).order_by("created_at")
    told = [(timeline_link(guest.user_id),) for guest in guests[:MAX_GUESTS]]
    return format_html_join(" · ", "{}", told) if told else None


def _require_view_of_users(request: HttpRequest) -> None:
    if not request.user.has_perm("accounts.view_user"):
        raise PermissionDenied
