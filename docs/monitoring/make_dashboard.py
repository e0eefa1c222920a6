"""Writes lorefeed-dashboard.json, the Grafana dashboard: python docs/monitoring/make_dashboard.py"""

import json
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 12, 8
# Each panel has a title, a unit, and queries with the legend of their lines.
PANELS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("Requests a second, by version", "reqps", [("sum by (adapter) (rate(lorefeed_requests_total[5m]))", "{{adapter}}")]),
    (
        "Time to the last byte",
        "s",
        [
            (f"histogram_quantile({q}, sum by (le) (rate(lorefeed_request_seconds_bucket[5m])))", f"p{q * 100:.0f}")
            for q in (0.5, 0.95, 0.99)
        ],
    ),
    (
        "Time to the first byte",
        "s",
        [(f"histogram_quantile({q}, sum by (le) (rate(lorefeed_first_byte_seconds_bucket[5m])))", f"p{q * 100:.0f}") for q in (0.5, 0.95)],
    ),
    ("Answers under way", "short", [("lorefeed_in_flight", "{{adapter}}")]),
    ("Tokens a second", "short", [("sum by (kind) (rate(lorefeed_tokens_total[5m]))", "{{kind}}")]),
    ("Requests that failed", "reqps", [('sum by (status) (rate(lorefeed_requests_total{status!~"2.."}[5m]))', "{{status}}")]),
    ("Definitions by state", "short", [("sum by (state) (lorefeed_definitions)", "{{state}}")]),
    ("Versions by state", "short", [("sum by (state) (lorefeed_adapters)", "{{state}}")]),
    (
        "What is served: learned and kept",
        "percentunit",
        [(f'lorefeed_check{{measure="{name}"}}', f"{{{{alias}}}} {name}") for name in ("learned", "kept")],
    ),
    (
        "What is served: left alone",
        "percentunit",
        [(f'lorefeed_check{{measure="{name}"}}', f"{{{{alias}}}} {name}") for name in ("known", "skills", "local_agreement")],
    ),
    ("Feeds that fail", "short", [("count(lorefeed_feed_errors > 0) or vector(0)", "failing"), ("count(lorefeed_feed_errors)", "all")]),
    ("Longest overdue feed", "s", [("max(lorefeed_feed_overdue_seconds)", "overdue")]),
    ("Jobs that wait, run or were given up", "short", [('lorefeed_jobs{state!="done"}', "{{kind}} {{state}}")]),
    ("How long the last job took", "s", [("lorefeed_job_last_seconds", "{{kind}}")]),
    ("Engines", "short", [("lorefeed_engine_healthy", "{{engine}}")]),
    ("Documents by state", "short", [("lorefeed_documents", "{{state}}")]),
]


def panel(number: int, title: str, unit: str, queries: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": {"x": number % 2 * WIDTH, "y": number // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [{"refId": chr(65 + i), "expr": expr, "legendFormat": legend} for i, (expr, legend) in enumerate(queries)],
    }


def dashboard() -> dict[str, Any]:
    return {
        "title": "Lorefeed",
        "uid": "lorefeed",
        "schemaVersion": 39,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]},
        "panels": [panel(number, *each) for number, each in enumerate(PANELS)],
    }


if __name__ == "__main__":
    Path(__file__).with_name("lorefeed-dashboard.json").write_text(json.dumps(dashboard(), indent=1) + "\n")
