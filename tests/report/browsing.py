"""How a test opens a page in the browser, waits for it and asks it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vnn.report.content import Content
from vnn.report.page import write_page


def opened(browser: Any, path: Path, study: Content, *, width: int = 1280, scheme: str = "light") -> None:
    write_page(path, study)
    browser.get_log("browser")
    browser.get_log("performance")
    resized(browser, width, scheme)
    browser.get(path.as_uri())
    until(lambda: browser.execute_script("return document.documentElement.dataset.drawn") == "true")
    assert browser.get_log("browser") == []


def until(reached: Callable[[], bool]) -> None:
    """Wait for what a browser does in its own time, a minute at most."""
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.05)


def resized(browser: Any, width: int, scheme: str = "light", media: str = "") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def requests(browser: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    urls = [request["request"]["url"] for request in sent if request["documentURL"].startswith("file:")]
    return [url for url in urls if not url.startswith(("file:", "data:", "blob:"))]
