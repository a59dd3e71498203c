"""
An HTTP answer as a value.
"""

from __future__ import annotations

import http
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conductor_loop.metrics.document import encode


@dataclass(frozen=True, slots=True)
class Answer:
    """
    Status, body and the headers that belong to the body.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status_line(self) -> str:
        return f"{self.status} {http.HTTPStatus(self.status).phrase}"


def json(document: dict[str, Any], *, status: int = 200, **headers: str) -> Answer:
    """
    Return a document as JSON; underscores in names of headers stand for hyphens.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, encode(document), {"Content-Type": "application/json", **named})


def error(status: int, message: str, **more: Any) -> Answer:
    """
    Return an error as JSON.
    """
    return json({"error": message, **more}, status=status)
