"""Alerts, and the daily spend at providers."""

from __future__ import annotations

from django.contrib import admin

from adminops.admin.base import ReadOnlyAdmin
from adminops.models import Alert
from generation.models import SpendDay


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("raised_at", "key", "text", "mailed_at", "called_at")
    ordering = ("-raised_at",)
    id_search = ()
    text_search = ("key__icontains",)
    fields = ("key", "text", "raised_at", ("mailed_at", "called_at"), ("due_at", "tries"))


@admin.register(SpendDay)
class SpendDayAdmin(ReadOnlyAdmin):
    list_display = ("date", "provider", "usd", "counted_until")
    list_filter = ("provider",)
    ordering = ("-date", "provider")
    id_search = ()
    text_search = ("provider__exact",)
    fields = (("date", "provider"), "usd", "counted_until")
