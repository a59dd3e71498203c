"""
Asking the running agent over HTTP.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from typing import Any

import click

from conductor_loop.cli.session import Session
from conductor_loop.config import Http
from conductor_loop.errors import UnreachableError

TIMEOUT_SECONDS = 3.0
LARGEST_ANSWER = 16 << 20  # bytes; ours are a few KiB

url_option: Callable[[Any], Any] = click.option(
    "--url",
    metavar="URL",
    help="Ask the agent there, such as http://127.0.0.1:8080; default: the configured one.",
)


def choose_url(session: Session, url: str | None) -> str:
    """
    Return where to ask: `url` if it was given, else where the configured agent answers.

    Raises:
        UnreachableError: if that is configured not to answer.
        ConfigError: if the configuration is bad.
    """
    if url is None:
        return base_url(session.load().config.http)
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(
            f"{url!r} is no URL; write one such as http://127.0.0.1:8080", param_hint="--url"
        )
    return url.rstrip("/")


def base_url(http: Http) -> str:
    """
    Return where an agent with these settings is asked, without a slash at the end.

    Raises:
        UnreachableError: if it is configured not to answer.
    """
    if http.metrics_port == 0:
        raise UnreachableError("no agent to ask: http.metrics_port is 0; set it to a port such as 8080")
    return f"http://{_reachable(http.metrics_host)}:{http.metrics_port}"


def ask(url: str, key: str) -> dict[str, Any]:
    """
    Return the agent's JSON answer; one with an error status is an answer too.

    Args:
        url: of the document.
        key: one of its tables, by which an agent's answer is known.

    Raises:
        UnreachableError: if nobody answers in time, or somebody else does.
    """
    try:
        answer = json.loads(_get(url))
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get(key), dict):
        raise UnreachableError(
            f"{url} answers, but not as an agent does; does the port belong to another program?"
        )
    return answer


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
