from django.apps import AppConfig
from django.core.checks import register


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from accounts import export
        from billing import checks, queries, receivers

        export.register("purchases", queries.export_purchases)
        export.register("subscriptions", queries.export_subscriptions)
        export.register("refund_requests", queries.export_refund_requests)
        export.register("unreadable_purchases", queries.export_unreadable)
        export.register("fraud_marks", queries.export_fraud_signals)
        receivers.connect()
        register(checks.check_apple_root_certificate)
