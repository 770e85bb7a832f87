"""An S3 server on loopback whose answers can be made slow and wrong: moto's server, behind a few lines of faults.

python -m tests.s3_server            prints its address

POST /faults {"errors": 0.1, "slow": 0.1, "refuse_writes": false}
"""

from __future__ import annotations

import io
import json
import random
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

BUCKET = "studies"
SLOW_SECONDS = 1.0
KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


class Faulty:
    """Answers some requests late, some with 500 (before or after they took effect), and counts what it did."""

    def __init__(self, server: Callable[..., Iterable[bytes]]) -> None:
        self.server = server
        self.faults: dict[str, Any] = {"errors": 0.0, "slow": 0.0, "refuse_writes": False}
        self.counts = {"requests": 0, "errors": 0, "slow": 0}
        self.random = random.Random(0)
        self.writing = threading.Lock()  # what S3 does at once, moto does in two steps

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/faults":
            self.faults |= json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self.counts).encode()]
        self.counts["requests"] += 1
        if self.random.random() < self.faults["slow"]:
            self.counts["slow"] += 1
            time.sleep(SLOW_SECONDS)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        writes = environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE")
        if writes and self.faults["refuse_writes"]:
            return self.fail(start_response)
        if self.random.random() < self.faults["errors"]:
            if writes and "HTTP_IF_NONE_MATCH" not in environ and self.random.random() < 0.5:
                list(self.server(environ, lambda *_: None))  # it took effect, but the answer is lost
            return self.fail(start_response)
        if writes:
            with self.writing:
                return list(self.server(environ, start_response))
        return self.server(environ, start_response)

    def fail(self, start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.counts["errors"] += 1
        start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
        return [b"<Error><Code>InternalError</Code><Message>injected</Message></Error>"]


def serve() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: Any) -> None:
            pass

    socketserver.TCPServer.request_queue_size = 128
    app = Faulty(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


class Server:
    """A running server: its address, the environment that leads to it, and its faults."""

    def __init__(self, address: str) -> None:
        self.environment = {**KEYS, "AWS_ENDPOINT_URL": address}
        self.address = address

    def faults(self, **faults: float | bool) -> dict[str, int]:
        """Set faults; returns how many requests, errors and slow answers there were so far."""
        request = urllib.request.Request(f"{self.address}/faults", data=json.dumps(faults).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts


@contextmanager
def running() -> Iterator[Server]:
    """An S3 server in a process of its own, with one empty bucket."""
    process = subprocess.Popen([sys.executable, "-m", "tests.s3_server"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        server = Server(process.stdout.readline().strip())
        with urllib.request.urlopen(urllib.request.Request(f"{server.address}/{BUCKET}", method="PUT"), timeout=30):
            yield server
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    serve()
