"""The example alerts: valid YAML in the form of Prometheus, about metrics that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from standart.observability import REGISTRY
from standart.services.gauges import GAUGES
from standart.services.webhook_service import LATE_SECONDS

FILE = Path(__file__).parents[2] / "docs" / "alerts" / "prometheus.yml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]
]
KNOWN = set(GAUGES) | {sample for metric in REGISTRY.collect() for sample in (metric.name,)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_rule_is_whole_and_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
    assert set(rule["annotations"]) == {"summary", "action"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["expr"].count("(") == rule["expr"].count(")")
    asked = {name.removesuffix("_bucket") for name in re.findall(r"standart_\w+", rule["expr"])}
    assert asked
    assert asked <= KNOWN


def test_the_first_one_tells_of_late_webhooks_when_the_panel_and_doctor_do() -> None:
    assert RULES[0]["expr"] == f"max(standart_webhook_lag_seconds) > {LATE_SECONDS}"
