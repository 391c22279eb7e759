"""A second request to end stops a process that computes and answers nothing."""

import signal
import subprocess
import sys
import time

import pytest

BUSY = """
import hashlib, signal
from thumbtune import signals
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts behind it ignore Ctrl-C
signals.GRACE = 0.1
signals.Listener().listen()
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # in C, where Python answers no signal, as in a kernel of torch
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_request_ends_a_computation(number: signal.Signals, code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        time.sleep(0.3)  # until it computes
        process.send_signal(number)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(number)
        try:
            assert process.wait(10) == code
        finally:
            process.kill()
        assert b"Stopped in the middle of a computation" in process.stderr.read()
