"""A real browser for tests: headless Chromium over its debugging pipe (no port, no package)."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXECUTABLE = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
_PATIENCE_SECONDS = 60.0

# Chromium reads commands from descriptor 3 and answers on 4.
_LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


@dataclass
class Browser:
    """One page in one fresh profile. `requests`: what it asked for. `complaints`: what went wrong."""

    commands: int
    answers: int
    session: str = ""
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _events: list[dict[str, Any]] = field(default_factory=list)
    _buffer: bytes = b""
    _next: int = 0

    def open(self, path: Path) -> None:
        """Load a file and wait until everything on it has loaded."""
        self._events.clear()
        self("Page.navigate", url=path.resolve().as_uri())
        self._until(lambda: any(e["method"] == "Page.loadEventFired" for e in self._events))
        self("Runtime.evaluate", expression="1")  # whatever the page said while it loaded came before this answer

    def evaluate(self, expression: str) -> Any:
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        scale = 2 if phone else 1
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=phone,
        )

    def media(self, *, scheme: str = "light", kind: str = "screen") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self("Emulation.setEmulatedMedia", media=kind, features=features)

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        found = self("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        self._next += 1
        number = self._next
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        answers: list[dict[str, Any]] = []
        self._until(lambda: bool(answers), number, answers)
        assert "error" not in answers[0], (method, answers[0])
        result: dict[str, Any] = answers[0]["result"]
        return result

    def _until(self, done: Any, number: int = 0, answers: list[dict[str, Any]] | None = None) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not done():
            for message in self._read(deadline):
                if "method" in message:
                    self._notice(message)
                elif message.get("id") == number and answers is not None:
                    answers.append(message)

    def _read(self, deadline: float) -> Iterator[dict[str, Any]]:
        ready, _, _ = select.select([self.answers], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            raise TimeoutError(f"Chromium said nothing for {_PATIENCE_SECONDS:.0f} seconds")
        part = os.read(self.answers, 1 << 20)
        if not part:
            raise ConnectionError("Chromium ended")
        *whole, self._buffer = (self._buffer + part).split(b"\0")
        yield from map(json.loads, whole)

    def _notice(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        method, params = event["method"], event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A Chromium of our own, gone afterwards with its profile."""
    assert EXECUTABLE is not None
    to_read, commands = os.pipe()
    answers, to_write = os.pipe()
    # Out of the way of 3 and 4.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_read, to_write)]
    os.close(to_read)
    os.close(to_write)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        launch = [
            sys.executable,
            "-c",
            _LAUNCHER,
            *map(str, high),
            EXECUTABLE,
            *_FLAGS,
            f"--user-data-dir={profile}",
        ]
        process = subprocess.Popen(launch, pass_fds=high, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in high:
            os.close(fd)
        page = Browser(commands, answers)
        try:
            target = page("Target.createTarget", url="about:blank")["targetId"]
            page.session = page("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Runtime", "Log"):
                page(f"{domain}.enable")
            yield page
        finally:
            page.session = ""
            with contextlib.suppress(OSError, TimeoutError, ConnectionError):
                page("Browser.close")
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(commands)
            os.close(answers)
