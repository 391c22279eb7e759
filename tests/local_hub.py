"""A hub on this machine that speaks the endpoints that pushing and downloading use; all files in its memory.

POST /api/repos/create                         POST /api/validate-yaml            GET /api/whoami-v2
POST /api/{models,datasets}/ID/preupload/main  POST .../commit/main
GET  /api/{models,datasets}/ID[/revision/main] GET  /api/{models,datasets}/ID/tree/REVISION
GET  [/datasets]/ID/resolve/REVISION/FILE      HEAD the same
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN, COMMIT = "hf_of_the_tests", "0" * 39 + "1"


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """repos: by kind (models, datasets) and id; refuses_commits: with which status"""

    address: str
    repos: dict[tuple[str, str], Repository] = field(default_factory=dict)
    validated: list[str] = field(default_factory=list)
    refuses_commits: int | None = None


def _oid(data: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_POST(self) -> None:
        body = self._body()
        if not self._may_write():
            return self._answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            key = (f"{asked.get('type', 'model')}s", f"{asked['organization']}/{asked['name']}")
            self.hub.repos[key] = Repository(asked.get("visibility") == "private" or bool(asked.get("private")))
            return self._answer(200, {"url": f"{self.hub.address}/{key[1]}"})
        if self.path == "/api/validate-yaml":
            self.hub.validated.append(json.loads(body)["content"])
            return self._answer(200, {"errors": [], "warnings": []})
        found = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/(preupload|commit)/main", self.path)
        if found is None or found.group(1, 2) not in self.hub.repos:
            return self._answer(404)
        if found[3] == "preupload":
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            return self._answer(200, {"files": files})
        return self._commit(self.hub.repos[found.group(1, 2)], body)

    def _commit(self, repository: Repository, body: bytes) -> None:
        if self.hub.refuses_commits:
            return self._answer(self.hub.refuses_commits, {"error": "no"})
        for line in map(json.loads, body.decode().splitlines()):
            if line["key"] == "file":
                repository.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "header":
                repository.commits.append(line["value"]["summary"])
        return self._answer(200, {"commitUrl": f"{self.hub.address}/x/y/commit/{COMMIT}", "commitOid": COMMIT})

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/whoami-v2":
            return self._answer(200 if self._may_write() else 401, {"name": "user", "type": "user"})
        found = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/[^/]+)?", path)
        if found is not None:
            repository = self.hub.repos.get(found.group(1, 2))
            if repository is None:
                return self._answer(404, headers={"X-Error-Code": "RepoNotFound"})
            siblings = [{"rfilename": name} for name in repository.files]
            told = {"id": found[2], "sha": COMMIT, "private": repository.private, "siblings": siblings}
            return self._answer(200, told)
        found = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/tree/[^/]+", path)
        if found is not None:
            files = self.hub.repos[found.group(1, 2)].files
            tree = [{"type": "file", "path": n, "size": len(d), "oid": _oid(d)} for n, d in files.items()]
            return self._answer(200, json.dumps(tree).encode())
        found = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        key = (("datasets" if found[1] else "models"), found[2]) if found is not None else None
        repository = self.hub.repos.get(key) if key else None
        if found is None or repository is None or found[3] not in repository.files:
            return self._answer(404, headers={"X-Error-Code": "EntryNotFound"})
        data = repository.files[found[3]]
        return self._answer(200, data, {"ETag": _oid(data), "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET


@contextmanager
def running() -> Iterator[Hub]:
    """Serve a hub while the `with` block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    _Handler.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield _Handler.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
