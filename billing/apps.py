"""Purchases in the App Store: products, transactions, subscriptions and refunds."""

from django.apps import AppConfig
from django.core.checks import register


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from accounts import export
        from billing import checks, exports, receivers

        export.register("purchases", exports.export_purchases)
        export.register("subscriptions", exports.export_subscriptions)
        export.register("refund_requests", exports.export_refund_requests)
        export.register("unreadable_purchases", exports.export_unreadable)
        export.register("fraud_marks", exports.export_fraud_signals)
        receivers.connect()
        register(checks.check_apple_root_certificate)
