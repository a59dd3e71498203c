"""
Asking the running agent how it is, over its admin socket or its port.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from typing import Any

import click

from conductor_loop.cli.door import Door
from conductor_loop.cli.session import Session
from conductor_loop.config import Config, Http, admin_socket
from conductor_loop.errors import PermissionDeniedError, UnreachableError

TIMEOUT_SECONDS = 3.0
LARGEST_ANSWER = 16 << 20  # bytes; ours are a few KiB

url_option: Callable[[Any], Any] = click.option(
    "--url",
    metavar="URL",
    help="Ask the agent there, such as http://127.0.0.1:8080; default: the configured one, at its admin socket or port.",
)


class Agent:
    """
    Who is asked for facts: the configured agent, at its admin socket if that answers us, else at its port.

    Args:
        config: the agent's; None to ask only at `url`.
        url: ask there and nowhere else.
    """

    def __init__(self, config: Config | None, url: str = "") -> None:
        self._config = config
        self._url = url

    @classmethod
    def of(cls, session: Session, url: str | None) -> Agent:
        """
        Return the agent at `url` if one was given, else the configured one.

        Raises:
            ConfigError: if the configuration is bad.
        """
        if url is None:
            return cls(session.load().config)
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
        try:
            answer = json.loads(self._get(page))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get(key), dict):
            raise UnreachableError(
                f"{self._url}{page} answers, but not as an agent does; does the port belong to another program?"
            )
        return answer

    def _get(self, page: str) -> bytes:
        if self._config is None:
            return _get(f"{self._url}{page}")
        door = Door(admin_socket(self._config), self._config.agent.state_dir, TIMEOUT_SECONDS)
        try:
            if door.answers():
                self._url = f"unix:{door.path}"
                return door.request("GET", page)
        except (PermissionDeniedError, UnreachableError):
            if not self._config.http.metrics_port:
                raise
        self._url = base_url(self._config.http)
        return _get(f"{self._url}{page}")


def running_hash(config: Config) -> str | None:
    """
    Return the hash of the configuration that the running agent uses; None if none answers.
    """
    try:
        answer = Agent(config).ask("/health", "components")
    except (UnreachableError, PermissionDeniedError):
        return None
    return str(answer.get("config_hash"))


def base_url(http: Http) -> str:
    """
    Return where an agent with these settings is asked, without a slash at the end.

    Raises:
        UnreachableError: if it is configured not to answer.
    """
    if http.metrics_port == 0:
        raise UnreachableError(
            "no agent answers at its admin socket, and http.metrics_port is 0; is it running?"
        )
    return f"http://{_reachable(http.metrics_host)}:{http.metrics_port}"


def _get(url: str) -> bytes:
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
        raise UnreachableError(
            f"no agent answers at {url} ({reason}); is it running? Start it with `conductor-loop run`"
        ) from exc


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
