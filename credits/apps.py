"""Wallets, the ledger, promotion codes and idempotency keys."""

from django.apps import AppConfig


class CreditsConfig(AppConfig):
    name = "credits"
