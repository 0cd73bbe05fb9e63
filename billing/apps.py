from django.apps import AppConfig
from django.core.checks import register


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from accounts import export
        from billing import checks, queries, receivers

        export.register("purchases", queries.purchases_held)
        export.register("subscriptions", queries.subscriptions_held)
        export.register("refund_requests", queries.refund_requests_held)
        export.register("unreadable_purchases", queries.unreadable_held)
        export.register("fraud_marks", queries.fraud_marks_held)
        receivers.connect()
        register(checks.apples_root_is_apples)
