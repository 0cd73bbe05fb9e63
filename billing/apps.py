from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from accounts import export
        from billing import queries, receivers

        export.register("purchases", queries.purchases_held)
        export.register("subscriptions", queries.subscriptions_held)
        receivers.connect()
