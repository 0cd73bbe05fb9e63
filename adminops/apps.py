from django.apps import AppConfig
from django.contrib import admin


class AdminopsConfig(AppConfig):
    name = "adminops"
    verbose_name = "Support"

    def ready(self) -> None:
        from accounts import export
        from adminops import refusals, staff_login

        export.register("refusals", refusals.held_about)
        staff_login.guard(admin.site)
        admin.site.index_template = "adminops/first_page.html"
