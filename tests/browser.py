"""A headless Chromium that tests drive over its debugging pipe: pages at a width, their requests and their errors.

The pipe carries the DevTools protocol: one JSON object a message, ended by a null byte. It needs no package, and no
port.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here; on Debian: apt-get install --no-install-recommends chromium"
)
PATIENCE = 60.0  # seconds for one answer, on a busy machine
# the browser reads commands from descriptor 3 and writes answers to 4
TO_PIPE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execvp(sys.argv[3], sys.argv[3:])"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-proxy-server",
    "--remote-debugging-pipe",
    "--hide-scrollbars",
)

LEFT = "Inspected target navigated"
CODES = {" ": "Space"}
VIRTUAL = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Backspace": 8, "Escape": 27}
VIRTUAL |= {"Tab": 9, " ": 32}


@dataclass
class Page:
    """An open page: the addresses that it and its workers asked for, and the errors that it reported."""

    browser: "Browser"
    session: str
    target: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str, leads_to: str | None = None) -> None:
        """Load an address; return when the page and its images are there, or those of the address that it leads to."""
        self.browser.call("Page.navigate", self.session, url=address)
        begins = json.dumps(leads_to or address)
        self.wait_for(f"document.readyState === 'complete' && (location.href + '#').startsWith({begins})")

    def close(self) -> None:
        """Close it."""
        self.browser.call("Target.closeTarget", targetId=self.target)

    def value(self, script: str) -> Any:
        """Return the value of a JavaScript expression, as JSON can tell it."""
        told = self.browser.call(
            "Runtime.evaluate", self.session, expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        end = time.monotonic() + PATIENCE
        while not (value := self._value_now(script)):
            assert time.monotonic() < end, f"{script} stayed {value} for {PATIENCE:.0f} s"
            time.sleep(0.05)
        return value

    def _value_now(self, script: str) -> Any:
        """Return the value of an expression; None if another page takes the place of this one just then."""
        try:
            return self.value(script)
        except AssertionError as error:
            if LEFT not in str(error):
                raise
            return None

    def press(self, key: str, *, held: int = 0) -> None:
        """Press and release a key, such as ArrowLeft, Enter or u; `held` is how often it repeats before."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        keys: dict[str, Any] = {"key": key, "code": CODES.get(key, f"Key{key.upper()}" if len(key) == 1 else key)}
        keys["windowsVirtualKeyCode"] = VIRTUAL.get(key, ord(key[0].upper()))
        for repeat in range(held + 1):
            self.browser.call(
                "Input.dispatchKeyEvent", self.session, type="keyDown", text=text, autoRepeat=repeat > 0, **keys
            )
        self.browser.call("Input.dispatchKeyEvent", self.session, type="keyUp", **keys)

    def type_over(self, text: str) -> None:
        """Select all of the field that has the focus, and type a text by keys; a line break is Enter."""
        self.browser.call(
            "Input.dispatchKeyEvent", self.session, type="keyDown", key="a", modifiers=2, commands=["selectAll"]
        )
        self.browser.call("Input.dispatchKeyEvent", self.session, type="keyUp", key="a", modifiers=2)
        for letter in text:
            self.press("Enter" if letter == "\n" else letter)

    def click(self, selector: str) -> None:
        """Click the middle of the first element of a selector with the mouse."""
        self.click_on(f"document.querySelector({json.dumps(selector)})")

    def double_click(self, selector: str) -> None:
        """Click twice as a double click does; an answer may come in between."""
        for count in (1, 2):
            self.click_on(f"document.querySelector({json.dumps(selector)})", count)
            time.sleep(0.3)

    def click_on(self, element: str, count: int = 1) -> None:
        """Click the middle of an element, which is a JavaScript expression; 2: as the second of a double click."""
        box = f"({element}).getBoundingClientRect()"
        self.value(f"({element}).scrollIntoView({{block: 'center'}})")
        x, y = self.value(f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({box})")
        for kind in ("mousePressed", "mouseReleased"):
            where = {"x": x, "y": y, "button": "left", "clickCount": count}
            self.browser.call("Input.dispatchMouseEvent", self.session, type=kind, **where)

    def swipe(self, selector: str, by: int) -> None:
        """Drag an element to a side by a number of pixels, with a finger."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.value(f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({box})")
        self._touch("touchStart", x, y)
        for step in range(1, 6):
            self._touch("touchMove", x + by * step / 5, y)
        self.browser.call("Input.dispatchTouchEvent", self.session, type="touchEnd", touchPoints=[])

    def _touch(self, kind: str, x: float, y: float) -> None:
        self.browser.call("Input.dispatchTouchEvent", self.session, type=kind, touchPoints=[{"x": x, "y": y}])

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window, in CSS pixels; below 600 it is a telephone's."""
        is_telephone = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_telephone}
        self.browser.call("Emulation.setDeviceMetricsOverride", self.session, **size)
        self.browser.call("Emulation.setTouchEmulationEnabled", self.session, enabled=is_telephone)

    def paint(self, dark: bool) -> None:
        """Choose the colour scheme that the page is asked for."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.browser.call("Emulation.setEmulatedMedia", self.session, features=[scheme])

    def picture(self, path: Path) -> None:
        """Write what the window shows as a PNG."""
        told = self.browser.call("Page.captureScreenshot", self.session, format="png")
        path.write_bytes(base64.b64decode(told["data"]))


class Browser:
    """A running Chromium; use it in a `with`."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        (commands, self._commands), (self._answers, answers) = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (commands, answers)]  # 3 and 4 must be free
        words = [sys.executable, "-c", TO_PIPE, *map(str, theirs), CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(words, pass_fds=theirs, stdin=quiet, stdout=quiet, stderr=quiet)
        for each in (commands, answers, *theirs):
            os.close(each)
        self._rest, self._count = b"", 0
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._commands)
        os.close(self._answers)

    def page(self, width: int, height: int, dark: bool = False) -> Page:
        """Return an empty page of a size in CSS pixels; below 600 it is a telephone's."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        made = self._pages[session] = Page(self, session, target)
        made.resize(width, height)
        made.paint(dark)
        self.call("Target.setAutoAttach", session, autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable", session)
        return made

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Return the browser's answer to a command; events that come before it go to their pages."""
        number = self._send(method, session, **parameters)
        while (told := self._message()).get("id") != number:
            self._event(told)
        assert "error" not in told, f"{method}: {told['error']}"
        return told["result"]

    def _send(self, method: str, session: str | None = None, **parameters: Any) -> int:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        os.write(self._commands, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        return self._count

    def _message(self) -> Any:
        while b"\0" not in self._rest:
            assert select.select([self._answers], [], [], PATIENCE)[0], f"the browser said nothing for {PATIENCE:.0f} s"
            more = os.read(self._answers, 1 << 20)
            assert more, "the browser ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _event(self, told: Any) -> None:
        page, facts = self._pages.get(told.get("sessionId", "")), told.get("params", {})
        if page is None:
            return
        match told.get("method"):
            case "Target.attachedToTarget":  # a worker, which has requests of its own
                worker = facts["sessionId"]
                self._pages[worker] = page
                for method in ("Network.enable", "Runtime.enable", "Runtime.runIfWaitingForDebugger"):
                    self._send(method, worker)
            case "Network.requestWillBeSent":
                page.requests.append(facts["request"]["url"])
            case "Runtime.exceptionThrown":
                page.complaints.append(json.dumps(facts["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if facts["type"] in {"error", "warning", "assert"}:
                page.complaints.append(json.dumps(facts["args"]))
            case "Log.entryAdded" if facts["entry"]["level"] in {"error", "warning"}:
                page.complaints.append(json.dumps(facts["entry"]))
