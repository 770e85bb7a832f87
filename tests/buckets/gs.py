"""A Google Cloud Storage server on loopback: gcp-storage-emulator, with faults, and the precondition that it lacks.

`python -m tests.buckets.gs` prints its address.
"""

from __future__ import annotations

import io
from functools import partial
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.server import RequestHandler, Router
from gcp_storage_emulator.storage import Storage

from tests.buckets.faults import Faults

ENVIRONMENT = {
    "FSSPEC_GS_TOKEN": "anon",
    "GOOGLE_CLOUD_PROJECT": "somebody",
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # the emulator has no buckets of other kinds to ask for
}
ADDRESS_IN = "STORAGE_EMULATOR_HOST"


class Handler(RequestHandler):  # type: ignore[misc]  # the emulator is untyped
    """The emulator's requests, one at a time."""

    rfile: io.BufferedIOBase
    wfile: io.BufferedIOBase

    def __init__(self, faults: Faults, *args: object) -> None:
        self.faults = faults
        super().__init__(*args)

    def do_GET(self) -> None:
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PUT(self) -> None:
        self.answer("PUT")

    def do_PATCH(self) -> None:
        self.answer("PATCH")

    def do_DELETE(self) -> None:
        self.answer("DELETE")

    def answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/faults":
            self.send(200, self.faults.turn(body))
            return
        outcome = self.faults.next(method)
        answer = b""
        if outcome in ("answer", "answer and fail"):
            with self.faults.one_at_a_time:
                answer = b"" if self.is_taken(body) else self.emulated(method, body)
        if outcome == "forbid":
            self.send(403, b'{"error": {"message": "injected"}}')
        elif outcome != "answer":
            self.send(500, b'{"error": {"message": "injected"}}')
        elif not answer:
            self.send(412, b'{"error": {"message": "conditionNotMet"}}')
        else:
            self.wfile.write(answer)

    def emulated(self, method: str, body: bytes) -> bytes:
        """The emulator's answer."""
        connection = self.rfile, self.wfile
        self.rfile, self.wfile = io.BytesIO(body), io.BytesIO()
        Router(self).handle(method)
        answer: bytes = self.wfile.getvalue()
        self.rfile, self.wfile = connection
        return answer

    def is_taken(self, body: bytes) -> bool:
        """Whether an object that is to be made only if it does not exist does exist."""
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if query.get("ifGenerationMatch") != ["0"]:
            return False
        name = query["name"][0] if "name" in query else body.partition(b'"name": "')[2].partition(b'"')[0].decode()
        try:
            self.storage.get_file_obj(url.path.split("/b/")[1].split("/")[0], name)
        except NotFound:
            return False
        return True

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that has seen the 500 has gone."""


def serve() -> None:
    server = Server(("127.0.0.1", 0), partial(Handler, Faults(), Storage(use_memory_fs=True)))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()
