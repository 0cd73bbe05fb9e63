"""What `make bench` holds generate-video against is what generate-video does."""

from __future__ import annotations

import re

from django.db import connection
from django.utils import timezone
from psycopg import sql

from accounts.models import User
from bench.limit import SCRIPT
from credits import ledger_check
from credits import services as credit_services
from generation.models import Job
from tests.helpers.job_driver import grant, kinds_of

NUMBER = 7
OWNER = "00000000-0000-4000-8000-000000000007"


def filled(statement: str, variables: dict[str, object]) -> str:
    return re.sub(
        r"(?<!:):([a-z]+(?:_[a-z]+)*)",
        lambda found: sql.quote(str(variables[found[1]])),
        statement,
    )


def run(script: str, variables: dict[str, object]) -> None:
    """As pgbench does: statement by statement, what a SELECT gives being variables of the next."""
    script = re.sub(r"^(--|\\set|BEGIN|COMMIT).*$", "", script, flags=re.MULTILINE)
    for statement in filter(str.strip, re.split(r";|\\gset", script)):
        with connection.cursor() as cursor:
            cursor.execute(filled(statement, variables))
            if cursor.description:
                names = [column.name for column in cursor.description]
                variables |= dict(zip(names, cursor.fetchone(), strict=True))


def test_the_bare_transaction_writes_the_rows_of_an_order(db):
    User.objects.create(id=OWNER)
    credit_services.open_wallet(user_id=OWNER)
    grant(OWNER, 10)
    script = SCRIPT.read_text()

    run(script, {"number": NUMBER})

    job = Job.objects.get(user_id=OWNER)
    assert (job.status, job.stage, job.credits) == ("pending", "submit", 4)
    assert kinds_of(job.id) == ["charge"]
    assert credit_services.balance_of(OWNER).balance == 6
    assert ledger_check.find_discrepancies() == []
    assert job.due_at <= timezone.now()
    written = re.search(r"INSERT INTO generation_job \((.*?)\)", script, flags=re.DOTALL)[1]
    columns = [field.column for field in Job._meta.local_concrete_fields]
    assert re.findall(r"\w+", written) == columns
