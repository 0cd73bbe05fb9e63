"""`make bench`: the limit that it compares with, its load generator, its judgement and its page."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from django.db import connection
from psycopg import sql

from bench import instant_provider, limit, load, process_tree, record, rows
from bench.growth import Growth
from bench.load import Plan, Result
from bench.plot import as_svg
from bench.report import BEGIN, END, Report, replace_between_markers
from bench.rows import Row
from rendio.local import ports
from rendio.local.data_dir import PROJECT
from tests.helpers import budget
from tests.local.conftest import fresh_environment

NUMBER = 7
OWNER = "00000000-0000-4000-8000-000000000007"


# --- The limit ------------------------------------------------------------------------------------


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


def found(query: str) -> tuple[object, ...]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()


def test_the_limit_takes_the_credits_of_one_job_and_writes_its_entry(db):
    limit.create_tables(users=NUMBER)

    run(limit.SCRIPT.read_text(), {"number": NUMBER})

    left = limit.CREDITS - 4
    assert found("SELECT min(balance) FROM bench.wallet") == (left,)
    assert found("SELECT credits, status, user_id::text FROM bench.job") == (4, "pending", OWNER)
    assert found(
        "SELECT change, balance_after, user_id::text FROM bench.ledger_entry"
        " WHERE job_id = (SELECT id FROM bench.job)"
    ) == (-4, left, OWNER)


# --- The load generator and the stand-in ----------------------------------------------------------


def drive(*targets: str, **plan: float) -> list[Result]:
    """One load for each target, from this process, to one stand-in for the provider."""
    port = ports.reserve_any()

    async def all_loads() -> list[Result]:
        requests = [f"{target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" for target in targets]
        plans = [Plan(port, 2, requests=[one], **{"seconds": 5, **plan}) for one in requests]
        async with instant_provider.listening(port):
            return [await load.run(one) for one in plans]

    return asyncio.run(all_loads())


def test_a_closed_loop_ends_after_its_number_of_requests():
    [result] = drive("GET /fal/jwks.json", count=20)

    assert (result.requests, result.errors) == (20, 0)
    assert len(result.latencies_ms) == 20


def test_an_open_loop_sends_at_its_rate():
    [result] = drive("GET /fal/jwks.json", rate=100, count=20)

    assert (result.requests, result.errors) == (20, 0)
    assert result.seconds >= 0.19


def test_a_load_of_some_seconds_ends_after_them():
    [result] = drive("GET /fal/jwks.json", seconds=0.1)

    assert result.requests > 2
    assert 0.1 <= result.seconds < 2


def test_an_answer_that_is_no_success_is_an_error():
    fails = "POST /control?outcome=failure&delay_ms=0"

    made, _, failed = drive(
        "GET /fal/queue/x/requests/1", fails, "GET /fal/queue/x/requests/1", count=1
    )

    assert made.errors == 0
    assert failed.errors == failed.requests == 1
    assert failed.first_error.startswith("HTTP/1.1 422")


# --- Processes ------------------------------------------------------------------------------------


def test_the_cpu_time_of_an_ended_child_counts():
    before = process_tree.cpu_seconds(os.getpid())

    subprocess.run([sys.executable, "-c", "for _ in range(3_000_000): pass"], check=True)

    assert process_tree.cpu_seconds(os.getpid()) > before
    assert process_tree.exact_cpu_ms(os.getpid()) > 0


def test_memory_of_a_process_that_is_gone_is_none():
    assert process_tree.memory_mb(os.getpid()) > 1
    assert process_tree.memory_mb(2**30) == 0


# --- Figures and judgement ------------------------------------------------------------------------


def row(name: str, *, requests: int = 100, latencies_ms: list[float] | None = None) -> Row:
    result = Result(requests, 0, 1.0, latencies_ms or [], "")
    return Row(name, lambda seconds: result)


def with_rounds(measured: Row, *cpu_seconds: float) -> Row:
    result = measured.drive(1.0)
    return replace(measured, rounds=[rows.Round(result, {"app": used}) for used in cpu_seconds])


def test_ratios_compare_a_row_with_the_limit_of_the_same_round():
    limit_row = with_rounds(row("limit", requests=1000), 0.3, 0.9, 0.6)
    # Three times as dear in the second round, as was the limit: other work disturbed both.
    measured = with_rounds(row("status"), 0.1, 0.3, 0.2)

    figures = rows.figures(measured, limit_row)

    assert figures.of_limit == pytest.approx(0.1)
    assert figures.cpu_of_limit == pytest.approx(0.3)
    assert figures.cpu["app"] == pytest.approx(2.0)


def test_latencies_are_those_of_the_quietest_round():
    quiet, disturbed = [1.0] * 99 + [5.0], [2.0] * 90 + [80.0] * 10
    measured = Row("status", lambda seconds: Result(0, 0, 1.0, [], ""))
    measured.rounds = [
        rows.Round(Result(100, 0, 1.0, latencies, ""), {}) for latencies in (disturbed, quiet)
    ]

    figures = rows.figures(measured, measured)

    assert (figures.p50_ms, figures.p99_ms) == (1.0, 1.0)


RECORDED = record.Record(
    date="2026-01-01",
    machine="",
    other_work=0.01,
    rows={"status": record.Ratios(of_limit=0.5, cpu_of_limit=0.4)},
    growth={"list": 1.4},
)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"rows": {"status": record.Ratios(0.46, 0.37)}}, None),
        ({"rows": {"status": record.Ratios(0.46, 0.35)}}, "status: cpu of limit 0.350"),
        ({"rows": {"status": record.Ratios(0.44, 0.4)}}, "status: of limit 0.440"),
        # Requests a second depend on other work on the machine; CPU seconds less.
        ({"rows": {"status": record.Ratios(0.44, 0.4)}, "other_work": 0.3}, None),
        ({"rows": {"new": record.Ratios(0.01, 0.01)}}, None),
        ({"growth": {"list": 1.5}}, None),
        ({"growth": {"list": 1.6}}, "list: grows by 1.60"),
    ],
)
def test_a_run_that_is_a_tenth_worse_than_recorded_has_problems(changes, problem):
    problems = replace(RECORDED, **changes).problems(RECORDED)

    assert len(problems) == bool(problem)
    assert not problem or problems[0].startswith(problem)


def test_growth_is_judged_from_a_third_on():
    small = replace(RECORDED, growth={"list": 1.0})

    assert replace(RECORDED, growth={"list": 1.29}).problems(small) == []
    assert replace(RECORDED, growth={"list": 1.31}).problems(small) != []


def test_a_record_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "record.json"

    RECORDED.save(file)

    assert record.load(file) == RECORDED


def test_the_projects_record_can_be_read():
    assert record.load(record.FILE).rows["limit"].cpu_of_limit == 1.0


# --- The page -------------------------------------------------------------------------------------


def a_report() -> Report:
    limit_row = with_rounds(row("limit", requests=1000), 0.3)
    calls = [
        rows.figures(with_rounds(row("a < b", latencies_ms=[1.0]), 0.1), limit_row),
        rows.figures(limit_row, limit_row),
    ]
    growth = [Growth("list", {10: 1.0, 1000: 1.25})]
    return Report("2026-01-01", "2 cores", 0.5, calls=calls, growth=growth)


def test_the_tables_replace_what_is_between_the_markers():
    page = f"# Performance\n\n{BEGIN}\n\nold\n\n{END}\n\n## Next\n"

    written = replace_between_markers(page, a_report().as_markdown())

    assert written.startswith(f"# Performance\n\n{BEGIN}\n\n2026-01-01, 2 cores")
    assert written.endswith(f"{END}\n\n## Next\n")
    assert "old" not in written
    assert "| list | 1.00 | 1.25 | 1.25 |" in written


def test_the_page_of_the_project_has_the_markers():
    page = (PROJECT / "docs" / "performance.md").read_text()

    assert page.count(BEGIN) == page.count(END) == 1


def test_the_plot_has_a_bar_for_each_part_that_is_as_long_as_its_cpu_time():
    plot = ElementTree.fromstring(as_svg(a_report().calls, title="CPU"))  # noqa: S314

    texts = [one.text for one in plot.iter("{http://www.w3.org/2000/svg}text")]
    widths = [float(one.get("width", 0)) for one in plot.iter("{http://www.w3.org/2000/svg}rect")]
    app_of_first, app_of_limit = widths[5], widths[9]
    assert {"a < b", "limit"} <= set(texts)
    assert app_of_limit == pytest.approx(app_of_first * 0.3, rel=0.01)


# --- All of it ------------------------------------------------------------------------------------


@budget.budgeted
@pytest.mark.skipif(not budget.is_thorough, reason="takes a minute: only with --thorough")
def test_a_short_run_measures_every_part(tmp_path):
    file = tmp_path / "record.json"
    short = ["--seconds=1", "--idle=0", "--streams=0", "--jobs=4", "--users=30"]
    short += ["--sizes", "500", "1000"]

    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "bench", "--record", f"--file={file}", *short],
        cwd=PROJECT,
        env=fresh_environment(tmp_path),
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    written = json.loads(file.read_text())
    assert {"generate-video", "webhook", "job with a video, at once"} <= written["rows"].keys()
    assert "claim of 50 submissions" in written["growth"]
