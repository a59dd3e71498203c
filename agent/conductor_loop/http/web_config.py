"""
The web configuration file of Prometheus' exporter-toolkit: TLS and basic authentication.
"""

from __future__ import annotations

from conductor_loop.errors import ConfigError


def check(path: str) -> None:
    """
    Refuse a web configuration file: it cannot be read yet, and serving without it would open what it closes.

    Args:
        path: the value of `http.web_config`; "" for none.

    Raises:
        ConfigError: if there is one.
    """
    if path:
        raise ConfigError(
            f"[http] web_config = {path!r}: TLS and passwords are not supported yet; leave it empty, "
            "keep metrics_host on a loopback address, and let a reverse proxy do both"
        )
