from django.apps import AppConfig
from django.contrib import admin


class AdminopsConfig(AppConfig):
    name = "adminops"
    verbose_name = "Support"

    def ready(self) -> None:
        from adminops import staff_login

        staff_login.guard(admin.site)
