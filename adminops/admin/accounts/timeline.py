"""The search page and the timeline page of a user, where most support work starts."""

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
from django.utils.text import capfirst

from adminops.admin.base import badge, link_to, status_badge, timeline_link
from adminops.admin.money.ledger import KIND_COLOURS, KIND_LABELS
from adminops.support import search, timeline
from adminops.support.masking import CodeMask, masked, may_see_codes, may_see_sensitive
from rendio.common.errors import InvalidInput, NotFound

MAX_GUESTS = 20  # one for each phone that signed in to the account
COLOURS = {
    **KIND_COLOURS,
    "job": "info",
    "consent": "",
    "purchase": "success",
    "session": "",
    "push": "",
    "support": "warning",
}


def search_page(request: HttpRequest) -> HttpResponse:
    """The search box and its results. Redirect to the timeline if all results are of one user."""
    _require_view_of_users(request)
    searched = request.GET.get("q", "").strip()
    results = search.search_all(searched)
    users = {result.user_id for result in results}
    if len(users) == 1 and (user_id := users.pop()):
        return HttpResponseRedirect(reverse("admin:timeline", args=[user_id]))
    context = {
        **admin.site.each_context(request),
        "title": "Search",
        "searched": searched,
        "table": {
            "headers": ["Type", "Record", "User"],
            "rows": [
                [
                    capfirst(result.row._meta.verbose_name),
                    link_to(result.row),
                    timeline_link(result.user_id) or "None",
                ]
                for result in results
            ],
        },
    }
    return TemplateResponse(request, "adminops/search.html", context)


def timeline_page(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """A page of a user's timeline."""
    _require_view_of_users(request)
    try:
        page = timeline.get_page(user_id, before=request.GET.get("before", ""))
    except (NotFound, InvalidInput) as refusal:
        raise Http404 from refusal
    user, wallet = page.user, getattr(page.user, "wallet", None)
    email = user.email if may_see_sensitive(request.user) else masked(user.email)
    context = {
        **admin.site.each_context(request),
        "title": "Timeline",
        "subtitle": str(user.id),
        "facts": [
            ("User", link_to(user, user.id)),
            ("E-mail", email or "None"),
            ("Balance", link_to(wallet, wallet.balance) if wallet else "No wallet"),
            ("Debt", wallet.debt if wallet else 0),
            ("Status", status_badge(user)),
            ("Merged into", timeline_link(_successor(wallet))),
            ("Merged guests", _guests(wallet)),
        ],
        "table": {
            "headers": ["Time (UTC)", "Event", "Details", "Credits", "Balance"],
            "rows": [_row(event) for event in _mask_codes(request, page.events)],
        },
        "older": f"?before={page.next_cursor}" if page.next_cursor else "",
        "newest": "?" if request.GET.get("before") else "",
    }
    return TemplateResponse(request, "adminops/timeline.html", context)


def _mask_codes(request: HttpRequest, events: list[timeline.Event]) -> list[timeline.Event]:
    """The events, with promotion codes masked for staff without the permission to see them."""
    if may_see_codes(request.user):
        return events
    texts = [
        text
        for event in events
        for text in (event.text, *(detail.text for detail in event.details))
    ]
    codes = CodeMask.for_texts(*texts)
    return [
        replace(
            event,
            text=codes.mask(event.text),
            details=[replace(line, text=codes.mask(line.text)) for line in event.details],
        )
        for event in events
    ]


def _row(event: timeline.Event) -> list[Any]:
    return [
        f"{event.at:%Y-%m-%d %H:%M:%S}",
        badge(KIND_LABELS.get(event.kind, event.kind), COLOURS.get(event.kind, "")),
        _text(event),
        "" if event.change is None else f"{event.change:+d}",
        event.balance,
    ]


def _text(event: timeline.Event) -> SafeString:
    lines = format_html_join(
        "",
        '<div class="text-font-subtle-light dark:text-font-subtle-dark">{} {}</div>',
        ((f"{line.at:%H:%M:%S}", link_to(line.row, line.text)) for line in event.details),
    )
    return format_html("<div>{}{}</div>", link_to(event.row, event.text or event.kind), lines)


def _successor(wallet: Any) -> UUID | None:
    """The user that this user was merged into."""
    return wallet.merged_into.user_id if wallet and wallet.merged_into_id else None


def _guests(wallet: Any) -> SafeString | None:
    """Links to the guests that were merged into this account. Their earlier events are in their own
    timelines."""
    if wallet is None:
        return None
    guests = wallet.wallet_set.exclude(user=None).order_by("created_at")
    timelines = [(timeline_link(guest.user_id),) for guest in guests[:MAX_GUESTS]]
    return format_html_join(" · ", "{}", timelines) if timelines else None


def _require_view_of_users(request: HttpRequest) -> None:
    if not request.user.has_perm("accounts.view_user"):
        raise PermissionDenied
