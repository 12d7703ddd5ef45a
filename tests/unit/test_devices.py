"""How browsers are called."""

from __future__ import annotations

import pytest

from standart.admin.devices import device

MOZILLA = "Mozilla/5.0"


@pytest.mark.parametrize(
    ("user_agent", "said"),
    [
        (
            (
                f"{MOZILLA} (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
                "Chrome/126.0.0.0 Safari/537.36"
            ),
            "Chrome 126, Windows",
        ),
        (
            (
                f"{MOZILLA} (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
                "Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.87"
            ),
            "Edge 126, Windows",
        ),
        (
            (
                f"{MOZILLA} (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
                "SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36"
            ),
            "Samsung Internet 25, Android",
        ),
        (
            (
                f"{MOZILLA} (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                "Chrome/124.0.0.0 YaBrowser/24.6.0.0 Safari/537.36"
            ),
            "Yandex Browser 24, Linux",
        ),
        (
            (
                f"{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
                "(KHTML, like Gecko) Version/17.5 Safari/605.1.15"
            ),
            "Safari 17, Mac OS X",
        ),
        (
            (
                f"{MOZILLA} (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
                "(KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1"
            ),
            "Chrome Mobile iOS 126, iOS",
        ),
        (
            f"{MOZILLA} (X11; Ubuntu; rv:127.0) Gecko/20100101 Firefox/127.0",
            "Firefox 127, Ubuntu",
        ),
        ("curl/8.5.0", "curl 8"),
        ("a till of our own", "a till of our own"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_a_browser_is_called_as_people_call_it(user_agent: str, said: str) -> None:
    assert device(user_agent) == said
