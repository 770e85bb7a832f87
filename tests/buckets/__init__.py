"""Buckets on loopback, whose answers can be made slow and wrong: an S3 server and a Google Cloud Storage server."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

BUCKET = "studies"
KINDS = ("s3", "gs")


class Server:
    """A running server: its address, the environment that leads to it, and its faults."""

    def __init__(self, kind: str, address: str) -> None:
        module = import_module(f"tests.buckets.{kind}")
        self.kind, self.address = kind, address
        self.environment: dict[str, str] = {**module.ENVIRONMENT, module.ADDRESS_IN: address}

    def url(self, name: str) -> str:
        """A results location in the server's bucket."""
        return f"{self.kind}://{BUCKET}/{name}"

    def make_bucket(self) -> None:
        path, method, body = {
            "s3": (f"/{BUCKET}", "PUT", None),
            "gs": ("/storage/v1/b", "POST", json.dumps({"name": BUCKET}).encode()),
        }[self.kind]
        headers = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(f"{self.address}{path}", body, headers, method=method)
        urllib.request.urlopen(request, timeout=30).close()

    def faults(self, **dials: float | bool) -> dict[str, int]:
        """Set faults; returns how many requests, errors and slow answers there were so far."""
        request = urllib.request.Request(f"{self.address}/faults", data=json.dumps(dials).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts


@contextmanager
def running(kind: str = "s3") -> Iterator[Server]:
    """A server in a process of its own, with one empty bucket."""
    process = subprocess.Popen([sys.executable, "-m", f"tests.buckets.{kind}"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        server = Server(kind, process.stdout.readline().strip())
        server.make_bucket()
        yield server
    finally:
        process.kill()
        process.communicate()
