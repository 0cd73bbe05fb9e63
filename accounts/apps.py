"""Users, devices, sessions, consents and push notifications."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
