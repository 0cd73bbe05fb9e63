"""The project as an app: its checks, commands, templates and Celery application."""

from django.apps import AppConfig
from django.conf import settings
from django.utils.module_loading import autodiscover_modules


class RendioConfig(AppConfig):
    name = "rendio"

    def ready(self) -> None:
        # Every process that wakes workers needs our Celery application. Celery's default one would
        # look for a broker where none is and lose each message.
        from rendio import celery  # noqa: F401
        from rendio.common.observability import sentry, tracing

        # Each app's kinds of due work: the backlog and the schedule list all of them.
        autodiscover_modules("due_work")
        if settings.SENTRY_DSN:
            sentry.start(dsn=settings.SENTRY_DSN, environment=settings.ENVIRONMENT)
        if endpoint := settings.OTEL_ENDPOINT:
            tracing.start(endpoint=endpoint, environment=settings.ENVIRONMENT)
