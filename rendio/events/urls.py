from django.urls import include, path

from rendio import health, metrics_endpoint
from rendio.events import api

v1 = [
    path("video-jobs/<str:job_id>/events", api.VideoJobEvents.as_view()),
    path("events", api.Events.as_view()),
]

# All that the events process answers.
handler400 = "rendio.error_pages.bad_request"
handler403 = "rendio.error_pages.permission_denied"
handler404 = "rendio.error_pages.page_not_found"
handler500 = "rendio.error_pages.server_error"
urlpatterns = [
    path("v1/", include(v1)),
    path("functions/v1/", include(v1)),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("statusz", health.statusz),
    path("metrics", metrics_endpoint.metrics),
]
