"""Every route. The phone's calls stand under /v1/ and, for older builds, under /functions/v1/."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

import accounts.urls
import adminops.urls
import billing.urls
import credits.urls
import generation.urls
import rendio.playground.urls
from rendio import health, metrics_endpoint
from rendio.events import urls as events_urls
from rendio.openapi import views

handler400 = "rendio.error_pages.bad_request"
handler403 = "rendio.error_pages.permission_denied"
handler404 = "rendio.error_pages.page_not_found"
handler500 = "rendio.error_pages.server_error"

# Routes are tried in order: the most frequent calls first.
v1 = [
    *generation.urls.urlpatterns,
    *events_urls.v1,
    *credits.urls.urlpatterns,
    *accounts.urls.urlpatterns,
    *billing.urls.urlpatterns,
    *adminops.urls.urlpatterns,
]

urlpatterns = [
    path("v1/", include(v1)),
    path("functions/v1/", include(v1)),
    # Before the providers, of which the next route takes any name.
    path("webhooks/", include(accounts.urls.webhooks)),
    path("webhooks/", include(billing.urls.webhooks)),
    path("webhooks/", include(generation.urls.webhooks)),
    path("media/", include(generation.urls.media)),
    path("admin/", admin.site.urls),
    path("openapi.json", views.openapi),
    path("docs", views.swagger),
    path("docs/redoc", views.redoc),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("statusz", health.statusz),
    path("metrics", metrics_endpoint.metrics),
    path("", include(rendio.playground.urls)),
]
