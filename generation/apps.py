from django.apps import AppConfig


class GenerationConfig(AppConfig):
    name = "generation"

    def ready(self) -> None:
        from accounts import export
        from generation import queries, receivers

        export.register("jobs", queries.jobs_held)
        export.register("quotes", queries.quotes_held)
        export.register("uploads", queries.uploads_held)
        export.register("refused_content", queries.offences_held)
        receivers.connect()
