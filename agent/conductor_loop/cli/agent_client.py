"""
Asking the running agent how it is, over its admin socket or its port.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from conductor_loop.cli.admin import nobody_answers
from conductor_loop.cli.door import Door
from conductor_loop.cli.session import Session
from conductor_loop.cli.target import Target, find_target
from conductor_loop.config import Config, Http, admin_socket
from conductor_loop.errors import ConductorError, PermissionDeniedError, UnreachableError

TIMEOUT_SECONDS = 3.0
LARGEST_ANSWER = 16 << 20  # bytes; ours are a few KiB


class Agent:
    """
    Who is asked for facts: the configured agent, at its admin socket if that answers us, else at its port.

    Args:
        target: the agent; None to ask only at `url`.
        url: ask there and nowhere else.
        start: how an agent that does not run is started.
    """

    def __init__(
        self, target: Target | None, url: str = "", *, start: str = "start it with `conductor-loop run`"
    ) -> None:
        self._target = target
        self._url = url
        self._start = start

    @classmethod
    def of(cls, session: Session, url: str | None) -> Agent:
        """
        Return the agent at `url` if one was given, else the configured one.

        Raises:
            ConfigError: if the configuration is bad, and no agent answers.
        """
        if url is None:
            return cls(find_target(session), start=f"start it with {session.command('run')}")
        if not url.startswith(("http://", "https://")):
            raise click.BadParameter(
                f"{url!r} is no URL; write one such as http://127.0.0.1:8080", param_hint="--url"
            )
        return cls(None, url.rstrip("/"))

    @property
    def where(self) -> str:
        """
        Name the place that was asked last.
        """
        return self._url

    def ask(self, page: str, key: str) -> dict[str, Any]:
        """
        Return the agent's JSON answer; one with an error status is an answer too.

        Args:
            page: the path of the document.
            key: one of its tables, by which an agent's answer is known.

        Raises:
            UnreachableError: if nobody answers in time, or somebody else does.
            PermissionDeniedError: if the socket is all there is, and we may not ask there.
        """
        if self._target is None:
            raw = _get(f"{self._url}{page}")
            if raw is None:
                raise UnreachableError(f"nobody answers at {self._url}; is the agent running?")
            return self._document(raw, page, key)
        raw, denied = self._ask_socket(self._target, page)
        if raw is not None:
            return self._document(raw, page, key)
        return self._ask_port(self._target.config, page, key, denied)

    def _ask_socket(self, target: Target, page: str) -> tuple[bytes | None, ConductorError | None]:
        """
        Return the answer, or why there is none although somebody listens.
        """
        door = Door.of(target.config, TIMEOUT_SECONDS)
        denied = None
        try:
            if door.answers():
                self._url = f"unix:{door.path}"
                return door.request("GET", page), None
        except (PermissionDeniedError, UnreachableError) as error:
            denied = error
        if target.error is not None:
            raise target.error
        if not target.config.http.metrics_port:
            raise denied or UnreachableError(nobody_answers(str(door.path), hint=self._start))
        return None, denied

    def _ask_port(self, config: Config, page: str, key: str, denied: ConductorError | None) -> dict[str, Any]:
        self._url = base_url(config.http)
        raw = _get(f"{self._url}{page}")
        if raw is None:
            places = (str(admin_socket(config)), self._url)
            raise UnreachableError(nobody_answers(*places, hint=self._start))
        answer = self._document(raw, page, key)
        if _is_other(config, answer):
            # Ours may be running and have lost its port to that one, but only where we could not ask it.
            raise denied or UnreachableError(
                f"another agent ({answer['agent']}) answers at {self._url}; ours does not run; {self._start}"
            )
        return answer

    def _document(self, raw: bytes, page: str, key: str) -> dict[str, Any]:
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get(key), dict):
            raise UnreachableError(
                f"{self._url}{page} answers, but not as an agent does; does the port belong to another program?"
            )
        return answer


def running_hash(config: Config) -> str | None:
    """
    Return the hash of the configuration that the running agent uses; None if none answers.
    """
    try:
        answer = Agent(Target(config)).ask("/health", "components")
    except (UnreachableError, PermissionDeniedError):
        return None
    return str(answer.get("config_hash"))


def base_url(http: Http) -> str:
    """
    Return where an agent with these settings is asked, without a slash at the end.
    """
    return f"http://{_reachable(http.metrics_host)}:{http.metrics_port}"


def _is_other(config: Config, answer: Mapping[str, Any]) -> bool:
    """
    Tell whether a document of `/health` is that of another agent; older versions do not say whose it is.
    """
    if "agent" not in answer:
        return False
    return bool(answer["agent"] != config.agent.name) or _store_id(config.agent.state_dir) not in (
        None,
        answer.get("instance_id"),
    )


def _store_id(state_dir: Path) -> str | None:
    """
    Return the id of our database; None if there is none, or it is not for us to read.
    """
    if not os.access(state_dir, os.R_OK | os.X_OK, effective_ids=True):
        return None
    from conductor_loop.store.view import View  # noqa: PLC0415 - brings SQLAlchemy, which is hardly ever needed

    try:
        return View(state_dir).store_id
    except (ConductorError, OSError):
        return None


def _get(url: str) -> bytes | None:
    """
    Return what is answered; None if nobody listens there.

    Raises:
        UnreachableError: if there is no whole answer in time.
    """
    # Slow to import, and `--help` has no use for it.
    import http.client  # noqa: PLC0415
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    # No proxy: the agent is on this machine or in this network, whatever http_proxy says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - http(s), checked
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as reply:
            return bytes(reply.read(LARGEST_ANSWER))
    except urllib.error.HTTPError as exc:
        with exc:  # 503 of /health has its document too
            return exc.read(LARGEST_ANSWER)
    except (OSError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", None) or exc
        if isinstance(reason, ConnectionRefusedError):
            return None
        raise UnreachableError(f"no agent answers at {url} ({reason})") from exc


def _reachable(host: str) -> str:
    """
    Return the host to connect to for one that is listened on, as a URL has it.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"  # noqa: PLR2004 - IPv4
    return host if address.version == 4 else f"[{host}]"  # noqa: PLR2004 - IPv4
