from django.apps import AppConfig
from django.contrib import admin


class AdminopsConfig(AppConfig):
    name = "adminops"
    verbose_name = "Support"

    def ready(self) -> None:
        from accounts import export
        from adminops.auth import login
        from adminops.monitoring import error_log

        export.register("refusals", error_log.held_about)
        login.guard(admin.site)
        admin.site.index_template = "adminops/overview.html"
