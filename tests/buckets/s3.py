"""An S3 server on loopback: moto's, behind a few lines of faults. `python -m tests.buckets.s3` prints its address."""

from __future__ import annotations

import io
import socketserver
from collections.abc import Callable, Iterable
from typing import Any

from tests.buckets.faults import WRITES, Faults

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
ADDRESS_IN = "AWS_ENDPOINT_URL"


class Faulty:
    """moto's application, with faults."""

    def __init__(self, server: Callable[..., Iterable[bytes]]) -> None:
        self.server = server
        self.faults = Faults()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ["PATH_INFO"] == "/faults":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [self.faults.turn(body)]
        environ["wsgi.input"] = io.BytesIO(body)
        outcome = self.faults.next(environ["REQUEST_METHOD"])
        if outcome == "forbid":
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>injected</Message></Error>"]
        if outcome == "answer" and environ["REQUEST_METHOD"] not in WRITES:
            return self.server(environ, start_response)
        if outcome != "fail":
            with self.faults.one_at_a_time:
                answer = list(self.server(environ, start_response if outcome == "answer" else lambda *_: None))
            if outcome == "answer":
                return answer
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


if __name__ == "__main__":
    serve()
