"""What of the processes' logs reaches the terminal."""

from __future__ import annotations

import json

import pytest

from rendio.local import logs


def line(**record: object) -> str:
    return json.dumps({"timestamp": "2026-01-31T12:00:00Z", "logger": "x", **record})


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("web", line(level="info", event="request")),
        ("web", "[2026-01-31 12:00:00 +0000] [7] [INFO] Listening at: http://127.0.0.1:8000"),
        ("flower", line(level="warning", event="Inspect method stats failed")),
        ("postgres", "2026-01-31 12:00:00 UTC [7] ERROR:  duplicate key value"),
        ("valkey", "7:M 31 Jan 2026 12:00:00.000 # WARNING Memory overcommit must be enabled!"),
        ("sandbox", "sandbox listens on http://127.0.0.1:9000"),
        ("web", ""),
    ],
)
def test_routine_stays_in_the_file(name, written):
    assert logs.format_line(name, written) is None


@pytest.mark.parametrize(
    ("name", "written", "shown"),
    [
        (
            "worker",
            line(level="warning", event="provider_slow", seconds=31),
            "worker    warning provider_slow seconds=31",
        ),
        (
            "web",
            "[2026-01-31 12:00:00 +0000] [7] [ERROR] Worker (pid:8) was sent SIGKILL!",
            "web       error Worker (pid:8) was sent SIGKILL!",
        ),
        ("web", "ImportError: no module", "web       ImportError: no module"),
        (
            "postgres",
            "12:00 UTC [7] PANIC:  disk full",
            "postgres  critical 12:00 UTC [7] PANIC:  disk full",
        ),
        (
            "web",
            line(
                level="error", event="failed", exception="Traceback\n" + "frame\n" * 50 + "Boom: x"
            ),
            "web       error failed" + "\n          frame" * 5 + "\n          Boom: x",
        ),
    ],
)
def test_trouble_is_shown_short(name, written, shown):
    assert logs.format_line(name, written).plain == shown


def test_lines_are_shown_once_and_when_they_are_whole(tmp_path):
    log = tmp_path / "web.log"
    tail = logs.LogTail("web", log)
    assert list(tail.new_lines()) == []

    log.write_text("first\nsec")
    assert [text.plain for text in tail.new_lines()] == ["web       first"]

    log.write_text("first\nsecond\n")
    assert [text.plain for text in tail.new_lines()] == ["web       second"]


def test_a_log_is_cut_at_its_size_and_followed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "LONGEST_BYTES", 100)
    log = tmp_path / "web.log"
    tail = logs.LogTail("web", log)
    log.write_text("x" * 120 + "\n")

    list(tail.new_lines())
    with log.open("a") as file:
        file.write("after\n")

    assert [text.plain for text in tail.new_lines()] == ["web       after"]
    assert (tmp_path / "web.log.1").stat().st_size == 121
