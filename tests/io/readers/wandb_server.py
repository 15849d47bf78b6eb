"""A server on the loopback that answers as W&B's GraphQL API does, as far as imports ask."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef" * 2 + "01234567"


@dataclass
class WandbServer:
    """Runs by id, each with ``displayName``, ``state``, ``config``, ``summary``, ``rows``."""

    project: str = "ent/proj"
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    page: int = 2  # runs a page, whatever the client asks for
    fail_from_step: int | None = None  # history pages from here on answer with status 500
    refuse_project: bool = False
    asked: list[str] = field(default_factory=list)

    def __enter__(self) -> WandbServer:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                content = self.rfile.read(length)
                status, answer = (200, {})
                if self.path == "/graphql":
                    status, answer = owner.answer(
                        json.loads(content), self.headers.get("Authorization", "")
                    )
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def answer(self, request: dict[str, Any], authorization: str) -> tuple[int, dict[str, Any]]:
        query, given = request["query"], request.get("variables") or {}
        self.asked.append(query)
        if authorization != "Basic " + b64encode(f"api:{KEY}".encode()).decode():
            return 401, {"errors": [{"message": "user is not logged in"}]}
        if "viewer" in query:
            viewer = {"id": "VXNlcjox", "entity": "ent", "username": "me", "flags": "{}"}
            return 200, {"data": {"viewer": viewer | {"teams": {"edges": []}}}}
        if "project(" not in query:
            return 200, {"data": {}}
        here = f"{given.get('entity')}/{given.get('project')}" == self.project
        if not here or self.refuse_project:
            return 200, {"data": {"project": None}}
        if "HistoryPage" in query and self._fails(given):
            return 500, {"errors": [{"message": "history is out of order"}]}
        return 200, {"data": {"project": self._project(query, given)}}

    def _fails(self, given: dict[str, Any]) -> bool:
        return self.fail_from_step is not None and int(given["minStep"]) >= self.fail_from_step

    def _project(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        if "runs(" in query:
            return self._list(given)
        run_id = given.get("name") or given.get("run") or given.get("runName")
        if run_id not in self.runs:
            return {"run": None}
        run = self.runs[run_id]
        if "parquetHistory" in query:
            return {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}
        if "HistoryPage" in query:
            low, high = int(given["minStep"]), int(given["maxStep"])
            rows = [row for row in run["rows"] if low <= row["_step"] < high]
            return {"run": {"history": [json.dumps(row) for row in rows[: given["pageSize"]]]}}
        return {"run": self._node(run_id)}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        start = int(given.get("cursor") or 0)
        ids = list(self.runs)[start : start + self.page]
        end = start + len(ids)
        return {
            "internalId": "1",
            "runCount": len(self.runs),
            "readOnly": False,
            "runs": {
                "edges": [{"node": self._node(own), "cursor": str(end)} for own in ids],
                "pageInfo": {"endCursor": str(end), "hasNextPage": end < len(self.runs)},
            },
        }

    def _node(self, run_id: str) -> dict[str, Any]:
        run = self.runs[run_id]
        rows = run["rows"]
        config = {name: {"value": value, "desc": None} for name, value in run["config"].items()}
        keys = {"keys": {}, "lastStep": rows[-1]["_step"] if rows else -1, "sets": []}
        return {
            "id": f"id-{run_id}",
            "projectId": "1",
            "tags": run.get("tags", []),
            "name": run_id,
            "displayName": run["displayName"],
            "sweepName": None,
            "state": run["state"],
            "config": json.dumps(config | {"_wandb": {"value": {"t": [1]}, "desc": None}}),
            "group": run.get("group"),
            "jobType": None,
            "commit": run.get("commit"),
            "readOnly": False,
            "createdAt": run["createdAt"],
            "heartbeatAt": run["createdAt"],
            "description": None,
            "notes": None,
            "systemMetrics": "{}",
            "summaryMetrics": json.dumps(run["summary"]),
            "historyLineCount": run.get("lines", len(rows)),
            "user": {"name": "me", "username": "me"},
            "historyKeys": keys,
        }
