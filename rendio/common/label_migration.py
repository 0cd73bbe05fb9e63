"""Migrations that change texts only."""

from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class LabelMigration(migrations.Migration):
    """Changes labels, help texts and choices, and no column: it executes no statement.

    Django renders the models anew after each operation. Here they are rendered once, when a later
    migration needs them: hundreds of operations took a third of the first `migrate`.
    """

    def apply(
        self,
        project_state: ProjectState,
        schema_editor: BaseDatabaseSchemaEditor,
        collect_sql: bool = False,
    ) -> ProjectState:
        """Raises ValueError for an operation that changes more than texts."""
        vars(project_state).pop("apps", None)
        for operation in self.operations:
            before = self._stored(operation, project_state)
            operation.state_forwards(self.app_label, project_state)
            if self._stored(operation, project_state) != before:
                raise ValueError(f"{self}: {operation.describe()} changes a column.")
        return project_state

    def _stored(self, operation: Operation, state: ProjectState) -> object:
        """What the database knows of the field that is altered."""
        if isinstance(operation, migrations.AlterModelOptions):
            return None
        if not isinstance(operation, migrations.AlterField):
            raise ValueError(f"{self}: {operation.describe()} changes more than texts.")
        model = state.models[self.app_label, operation.model_name_lower]
        field: Any = model.fields[operation.name]
        _, path, arguments, options = field.deconstruct()
        texts = set(field.non_db_attrs) - {"db_column"}
        return path, arguments, {name: options[name] for name in options.keys() - texts}
