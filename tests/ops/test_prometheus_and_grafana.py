"""What stands in ops/: rules and panels ask for what we tell, and each alert can fire."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml
from django.test import Client

from adminops.monitoring import database_gauges

ROOT = Path(__file__).resolve().parents[2]
OPS = ROOT / "ops"
RULES = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"][0]["rules"]
TESTS = yaml.safe_load((OPS / "alerts.test.yml").read_text())["tests"]
PROMTOOL = shutil.which("promtool") or ""  # part of Debian's package prometheus
PANELS = [
    panel
    for panel in json.loads((OPS / "grafana.json").read_text())["panels"]
    if panel["type"] != "row"
]
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULES} | {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
}


@pytest.fixture
def told(db, monkeypatch):
    """The names of all series that /metrics can tell."""
    monkeypatch.setattr(database_gauges, "KEPT_SECONDS", -1)
    names = set()
    for line in Client().get("/metrics").content.decode().splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            names |= {name + ending for ending in endings}
    return names


def test_every_expression_can_be_read_and_asks_for_what_there_is(told):
    for what, expression in EXPRESSIONS.items():
        promql_parser.parse(expression)
        asked = set(re.findall(r"\brendio_\w+", expression))
        assert asked <= told, (what, asked - told)
        assert asked or "up{" in expression, what


def test_every_alert_has_a_test_that_fires_it():
    fired = {
        case["alertname"]
        for test in TESTS
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }

    assert fired == {rule["alert"] for rule in RULES}


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not on the PATH")
@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
        ["check", "config", "--syntax-only", "prometheus.yml"],
    ],
)
def test_promtool_accepts_rules_and_fires_them(command):
    said = subprocess.run(  # noqa: S603
        [PROMTOOL, *command], cwd=OPS, capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stdout + said.stderr


def test_every_alert_says_what_to_do():
    guide = (ROOT / "docs" / "operations.md").read_text()
    sections = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^##+ (.*)$", guide, flags=re.M)
    }

    for rule in RULES:
        file, _, section = rule["annotations"]["runbook"].partition("#")
        assert (file, section in sections) == ("docs/operations.md", True), rule["alert"]


def test_the_dashboards_panels_have_ids_and_places_of_their_own():
    board = json.loads((OPS / "grafana.json").read_text())
    ids = [panel["id"] for panel in board["panels"]]
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert board["schemaVersion"] >= 39
    assert len(set(ids)) == len(ids)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert all(target["legendFormat"] for panel in PANELS for target in panel["targets"])
