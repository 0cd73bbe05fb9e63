"""The release before runs on the new schema. Part of `make check` too."""

from __future__ import annotations

from pathlib import Path

from django_migration_linter import MigrationLinter

ROOT = Path(__file__).resolve().parents[2]
# Up to here nothing ran that had to run on. What a newer one may not do, docs/deploy.md says.
FIRST_RELEASE = {
    "accounts": "0008",
    "adminops": "0011",
    "billing": "0006",
    "credits": "0006",
    "generation": "0010",
}


def lint() -> MigrationLinter:
    linter = MigrationLinter(
        str(ROOT),
        exclude_migration_tests=["RUNPYTHON_ARGS_NAMING_CONVENTION"],
        all_warnings_as_errors=True,
        no_cache=True,
    )

    for app, last in FIRST_RELEASE.items():
        for file in (ROOT / app / "migrations").glob("[0-9]*.py"):
            if file.stem[:4] > last:
                linter.lint_migration(linter.migration_loader.get_migration(app, file.stem))
    return linter


def test_the_release_before_runs_on_the_new_schema(django_db_blocker):
    """Any database will do, an empty one too, so that none is made for this."""
    with django_db_blocker.unblock():
        linter = lint()

    assert linter.nb_total
    assert not linter.has_errors
