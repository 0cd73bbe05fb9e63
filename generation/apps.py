"""The catalogue, orders, jobs, providers, uploads and moderation."""

from django.apps import AppConfig


class GenerationConfig(AppConfig):
    name = "generation"

    def ready(self) -> None:
        from accounts import export
        from generation import exports, receivers

        export.register("jobs", exports.export_jobs)
        export.register("quotes", exports.export_quotes)
        export.register("uploads", exports.export_uploads)
        export.register("training_sets", exports.export_training_sets)
        export.register("trained_models", exports.export_trained_models)
        export.register("training_consents", exports.export_training_consents)
        export.register("refused_content", exports.export_violations)
        receivers.connect()
