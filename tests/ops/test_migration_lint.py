"""The release before runs on the new schema. Part of `make check` too."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import migrations, models
from django.db.migrations.state import ModelState, ProjectState
from django_migration_linter import MigrationLinter

from rendio.common.label_migration import LabelMigration
from tests.helpers.budget import large

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


@large
def test_the_release_before_runs_on_the_new_schema(django_db_blocker):
    """Any database will do, an empty one too, so that none is made for this."""
    with django_db_blocker.unblock():
        linter = lint()

    assert linter.nb_total
    assert not linter.has_errors


LABELLED = models.CharField("Label", max_length=10)
COLUMN = models.CharField(max_length=10)


@pytest.fixture
def state():
    state = ProjectState()
    fields = [("id", models.AutoField(primary_key=True)), ("name", COLUMN)]
    state.add_model(ModelState("things", "Thing", fields))
    return state


def label_migration(*operations):
    migration = LabelMigration("0002_labels", "things")
    migration.operations = [migrations.AlterField("thing", "name", LABELLED), *operations]
    return migration


def test_a_label_migration_changes_texts_without_a_statement(state):
    migration = label_migration(migrations.AlterModelOptions("thing", {"verbose_name": "object"}))

    after = migration.apply(state, schema_editor=None)

    thing = after.apps.get_model("things", "Thing")
    assert thing._meta.verbose_name == "object"
    assert thing._meta.get_field("name").verbose_name == "Label"


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AlterField("thing", "name", models.CharField(max_length=11)),
        migrations.AlterField("thing", "name", models.CharField(max_length=10, db_column="x")),
        migrations.AddField("thing", "other", COLUMN),
        migrations.RunSQL("SELECT 1"),
    ],
)
def test_a_label_migration_that_changes_more_is_refused(state, operation):
    with pytest.raises(ValueError, match=r"changes (a column|more than texts)\.$"):
        label_migration(operation).apply(state, schema_editor=None)
