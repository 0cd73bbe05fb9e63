from django.apps import AppConfig
from django.conf import settings


class RendioConfig(AppConfig):
    name = "rendio"

    def ready(self) -> None:
        # Every process that nudges needs our Celery application, not Celery's default one, which
        # would look for a broker where none is and lose each nudge.
        from rendio import celery  # noqa: F401
        from rendio.common import sentry, tracing

        if settings.SENTRY_DSN:
            sentry.start(dsn=settings.SENTRY_DSN, environment=settings.ENVIRONMENT)
        if endpoint := settings.OTEL_ENDPOINT:
            tracing.start(endpoint=endpoint, environment=settings.ENVIRONMENT)
