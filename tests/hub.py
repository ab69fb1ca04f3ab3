"""A stand-in for the Hugging Face Hub: the part of its HTTP interface that pushing and fetching a model use.

Written after the requests that huggingface_hub makes. `anna` owns what is under her name; `OTHER` is somebody else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

ANNA, OTHER = "hf_anna", "hf_other"


@dataclass
class Repository:
    """Files by commit, and commits by branch."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        before = self.commits.get(self.branches.get(branch, ""), {})
        oid = hashlib.sha1(f"{len(self.commits)} {message}".encode()).hexdigest()
        self.commits[oid] = {**before, **files}
        self.branches[branch] = oid
        self.messages.append(message)
        return oid

    def resolve(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)


class Hub:
    """What the server knows; `fail` is a status that every commit is answered with."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.fail: int | None = None
        self.address = ""

    def add(self, name: str, files: dict[str, bytes], **settings: Any) -> Repository:
        """A repository with one commit."""
        repository = self.repositories[name] = Repository(**settings)
        repository.commit("main", {".gitattributes": b"", **files}, "initial commit")
        return repository


class RefusalError(Exception):
    """An answer that is none."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, method: str) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}")
        self.body = self._read_body()
        try:
            for pattern, name in ROUTES[method].items():
                if found := re.fullmatch(pattern, path):
                    getattr(self, name)(*map(unquote, found.groups()))
                    return
            raise RefusalError(501, message=f"the stand-in knows no {method} {path}")
        except RefusalError as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self._send({"error": refusal.message}, refusal.status, {k: v for k, v in headers.items() if v})

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _may_write(self, name: str) -> None:
        if self.token not in (ANNA, OTHER):
            raise RefusalError(401, message="Invalid username or password.")
        if name.split("/")[0] != "anna" or self.token != ANNA:
            raise RefusalError(403, message="You don't have the rights")

    def _find(self, name: str) -> Repository:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.token != ANNA):
            raise RefusalError(404 if self.token else 401, "RepoNotFound", "Repository not found")
        return repository

    def _find_commit(self, name: str, revision: str) -> tuple[str, dict[str, bytes]]:
        repository = self._find(name)
        oid = repository.resolve(revision)
        if oid is None:
            raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid, repository.commits[oid]

    # --- to push

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        self._may_write(name)
        url = f"{self.hub.address}/{name}"
        if name in self.hub.repositories:
            self._send({"error": "You already created this model repo", "url": url}, 409)
            return
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.add(name, {}, private=private)
        self._send({"url": url, "name": name})

    def branch(self, name: str, branch: str) -> None:
        self._may_write(name)
        repository = self._find(name)
        if branch in repository.branches:
            raise RefusalError(409, message="Reference already exists")
        repository.branches[branch] = repository.branches["main"]
        self._send({})

    def check_card(self) -> None:
        assert json.loads(self.body)["content"].startswith("---\n")
        self._send({"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        self._may_write(name)
        self._find_commit(name, revision)
        modes = [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
            for f in json.loads(self.body)["files"]
        ]
        self._send({"files": [{**mode, "shouldIgnore": False} for mode in modes]})

    def batch(self, name: str) -> None:
        self._may_write(name)
        objects = [
            {**asked, "actions": {"upload": {"href": f"{self.hub.address}/large/{asked['oid']}"}}}
            for asked in json.loads(self.body)["objects"]
        ]
        self._send({"transfer": "basic", "objects": objects})

    def store(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.large[oid] = self.body
        self._send({})

    def commit(self, name: str, revision: str) -> None:
        self._may_write(name)
        if self.hub.fail:
            raise RefusalError(self.hub.fail, message="The hub has a bad day.")
        repository, files, message = self._find(name), {}, ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                message = value["summary"]
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.hub.large[value["oid"]]
        oid = repository.commit(revision, files, message)
        self._send({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.address}/{name}/commit/{oid}"})

    # --- to fetch

    def info(self, name: str, revision: str = "main") -> None:
        oid, files = self._find_commit(name, revision)
        siblings = [{"rfilename": path} for path in files]
        self._send({"id": name, "modelId": name, "sha": oid, "private": False, "tags": [], "siblings": siblings})

    def tree(self, name: str, revision: str) -> None:
        _, files = self._find_commit(name, revision)
        self._send(
            [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files.items()
            ]
        )

    def resolve(self, name: str, revision: str, path: str) -> None:
        oid, files = self._find_commit(name, revision)
        if path not in files:
            raise RefusalError(404, "EntryNotFound", "Entry not found")
        etag = hashlib.sha1(files[path]).hexdigest()
        self._send(files[path], headers={"ETag": f'"{etag}"', "X-Repo-Commit": oid})


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = {
    "POST": {
        r"/api/repos/create": "create",
        r"/api/validate-yaml": "check_card",
        rf"/api/models/{NAME}/branch/(.+)": "branch",
        rf"/api/models/{NAME}/preupload/(.+)": "preupload",
        rf"/{NAME}\.git/info/lfs/objects/batch": "batch",
        rf"/api/models/{NAME}/commit/(.+)": "commit",
    },
    "PUT": {r"/large/(\w+)": "store"},
    "GET": {
        rf"/api/models/{NAME}": "info",
        rf"/api/models/{NAME}/revision/(.+)": "info",
        rf"/api/models/{NAME}/tree/([^/]+)": "tree",
        rf"/{NAME}/resolve/([^/]+)/(.+)": "resolve",
    },
}


@contextmanager
def serve() -> Iterator[Hub]:
    """Answer on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
