"""A server on loopback that answers as Kaggle's API does, for Kaggle's own clients."""

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "a token"
SERVICE = "/api/v1/competitions.CompetitionApiService/"


class KaggleServer(ThreadingHTTPServer):
    """What it does: archive (the competition's zip); errors {request: [(status, answer), ...] of the next ones}; breaks
    (for each of the next GETs the bytes after which the connection breaks, or None); is_open (unless it is set, the
    connection hangs there first); states (answers of GetSubmission, the last one for ever).
    What it was asked: requests, ranges, uploads, submitted.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.archive, self.has_checksum = b"", True
        self.errors: dict[str, list] = {}
        self.breaks: list[int | None] = []
        self.is_open = threading.Event()
        self.is_open.set()
        self.states: list[dict] = []
        self.requests, self.ranges, self.uploads, self.submitted = Counter(), [], {}, []

    def handle_error(self, *_):
        """A client that goes away is no error here."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KaggleServer

    def log_message(self, *_):
        pass

    def answer(self, status: int, content: dict | bytes = b"", **headers: str) -> None:
        body = json.dumps(content).encode() if isinstance(content, dict) else content
        self.send_response(status)
        if isinstance(content, dict):
            self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("X-Kaggle-HubVersion", "99.0")  # there is a newer client
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = self.path.removeprefix(SERVICE).removeprefix("/kaggle-jwt-handler/")
        self.server.requests[name] += 1
        if self.server.errors.get(name):
            return self.answer(*self.server.errors[name].pop(0))
        if "X-Kaggle-Authorization" in self.headers:  # from a notebook at Kaggle
            return self.answer(200, {"wasSuccessful": True, "result": {"mountSlug": "mounted"}})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"code": 401, "message": "Unauthenticated"})
        return getattr(self, name)(json.loads(body))

    def DownloadDataFiles(self, request):
        assert request == {"competitionName": "rsna-pneumonia-detection-challenge"}
        self.answer(302, Location=f"{self.server.address}/store/archive.zip")

    def StartSubmissionUpload(self, request):
        token = f"token-{len(self.server.uploads)}"
        self.server.uploads[token] = request
        self.answer(200, {"token": token, "createUrl": f"{self.server.address}/store/{token}"})

    def CreateSubmission(self, request):
        assert "content" in self.server.uploads[request["blobFileTokens"]]
        self.server.submitted.append(request)
        self.answer(200, {"message": "Successfully submitted", "ref": 1000 + len(self.server.submitted)})

    def GetSubmission(self, request):
        state = self.server.states.pop(0) if len(self.server.states) > 1 else self.server.states[0]
        self.answer(200, {"ref": request["ref"], **state})

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.errors.get("PUT"):
            return self.answer(*self.server.errors["PUT"].pop(0))
        upload = self.server.uploads[self.path.rpartition("/")[2]]
        assert upload["contentLength"] == len(content)
        upload["content"] = content
        return self.answer(200)

    def do_GET(self):
        """The store: answers to ranges, and breaks off where it is told to."""
        if self.server.errors.get("GET"):
            return self.answer(*self.server.errors["GET"].pop(0))
        whole = self.server.archive
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        if wanted:
            self.server.ranges.append(start)
        self.send_response(206 if wanted else 200)
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(len(whole) - start)}
        headers["Last-Modified"] = "Mon, 27 Aug 2018 10:00:00 GMT"
        if self.server.has_checksum:
            headers["x-goog-hash"] = f"crc32c=AAAAAA==,md5={base64.b64encode(hashlib.md5(whole).digest()).decode()}"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        count = self.server.breaks.pop(0) if self.server.breaks else None
        self.wfile.write(whole[start:] if count is None else whole[start : start + count])
        if count is not None:
            self.wfile.flush()
            self.server.is_open.wait(30)
            self.close_connection = True
        return None


@contextmanager
def kaggle_server():
    server = KaggleServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.is_open.set()
        server.shutdown()
        server.server_close()
