from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from standart.observability import REGISTRY


def count(method: str, route: str, status: int) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("standart_http_requests_total", labels) or 0.0


def timed(route: str) -> float:
    name = "standart_http_request_seconds_count"
    return REGISTRY.get_sample_value(name, {"route": route}) or 0.0


def test_requests_are_counted_by_route_and_never_by_path(make_app: Callable[..., Flask]) -> None:
    client = make_app(metrics_port=9464).test_client()
    calls = {
        ("GET", "/healthz", 200): "/healthz",
        ("GET", "/events/<event_id>", 401): "/events/0198f0c2-7d3e-7c4b-9a51-3f0d7f1c2b6a",
        ("any", "unknown", 404): "/made-up-by-a-scanner",
    }
    before = {key: count(*key) for key in calls}
    seconds = timed("/healthz")
    for path in calls.values():
        client.get(path)
    client.open("/healthz", method="INVENTED")
    assert {key: count(*key) - before[key] for key in calls} == dict.fromkeys(calls, 1.0)
    assert timed("/healthz") == seconds + 1
    text = str(list(REGISTRY.collect()))
    assert "made-up" not in text
    assert "INVENTED" not in text


def test_without_a_port_nothing_is_measured(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    before = count("GET", "/healthz", 200)
    assert client.get("/healthz").status_code == 200
    assert count("GET", "/healthz", 200) == before
