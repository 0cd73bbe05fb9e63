from django.apps import AppConfig


class RendioConfig(AppConfig):
    name = "rendio"

    def ready(self) -> None:
        # Every process that nudges needs our Celery application, not Celery's default one, which
        # would look for a broker where none is and lose each nudge.
        from rendio import celery  # noqa: F401
