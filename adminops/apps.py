"""What staff use: the admin, support actions, reports and monitoring."""

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class StaffAdminConfig(SimpleAdminConfig):
    """django.contrib.admin with our own site. Only the pages of adminops.admin are registered, none
    of a library."""

    default_site = "adminops.admin.site.StaffAdminSite"

    def ready(self) -> None:
        super().ready()
        from adminops.admin import pages  # noqa: F401


class AdminopsConfig(AppConfig):
    name = "adminops"
    verbose_name = "Support"
    default = True

    def ready(self) -> None:
        from accounts import export
        from adminops.monitoring import error_log

        export.register("refusals", error_log.export_error_log)
