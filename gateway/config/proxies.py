"""Exits that are somebody's proxy, as gateway.yaml names them.  Owns: their sections.
Knows: pydantic, URLs of proxies.  Never: files, dialling."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.document import Section
from gateway.errors import AddressError
from gateway.model import Endpoint
from gateway.policy.values import Country, Name

_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?/?")
_URL_FORM = "url must be https://HOST:PORT, or http://ADDRESS:PORT, and no more"


def _dialled(text: str) -> str:
    """A proxy that is asked in plaintext has an address: names are not looked up for it."""
    try:
        endpoint = Endpoint.parse(text)
    except AddressError as error:
        raise ValueError(str(error)) from error
    if not endpoint.port:
        raise ValueError(f'"{text}" must have a port of 1..65535')
    return text


class _ProxyExit(Section):
    """What the kinds of proxy have in common."""

    name: Name
    username: Annotated[str, Field(min_length=1)] | None = None
    """Omitted: the proxy wants no login."""
    password_file: Annotated[str, Field(min_length=1)] | None = None
    """Its first line is the password."""
    jurisdiction: Country | None = None
    """The operator's claim, for people."""

    @model_validator(mode="after")
    def _has_whole_login(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file: both or neither")
        if self.username and (len(self.username.encode()) > 255 or ":" in self.username):
            raise ValueError("username: at most 255 octets, and no colon (RFC 1929, RFC 7617)")
        return self


class Socks5Exit(_ProxyExit):
    """A SOCKS 5 proxy, for TCP (RFC 1928)."""

    kind: Literal["socks5"]
    address: Annotated[str, AfterValidator(_dialled)]

    @property
    def is_plaintext(self) -> bool:
        """Whether what is sent to the proxy can be read on the way."""
        return True

    @property
    def at(self) -> tuple[str, int]:
        """Host and port."""
        endpoint = Endpoint.parse(self.address)
        return endpoint.host, endpoint.port


class HttpConnectExit(_ProxyExit):
    """An HTTP proxy, for TCP (RFC 9110 section 9.3.6)."""

    kind: Literal["http-connect"]
    url: str
    """https://HOST[:PORT], or http://ADDRESS[:PORT] where the way there needs no secrecy."""
    ca: Annotated[str, Field(min_length=1)] | None = None
    """Authorities of the proxy's certificate.  Omitted: those that the host trusts."""

    @property
    def is_plaintext(self) -> bool:
        """Whether what is sent to the proxy can be read on the way."""
        return self.url.startswith("http:")

    @property
    def at(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        port = (80 if self.is_plaintext else 443) if parts.port is None else parts.port
        return parts.hostname or "", port

    @model_validator(mode="after")
    def _is_a_proxy(self) -> Self:
        if not _URL.fullmatch(self.url):
            raise ValueError(_URL_FORM)
        try:
            host, port = self.at
        except ValueError:  # a port of more than 65535
            raise ValueError(_URL_FORM) from None
        if not port:
            raise ValueError(_URL_FORM)
        if self.is_plaintext:
            _dialled(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            if self.ca is not None:
                raise ValueError("ca: an http:// proxy has no certificate")
        return self


ProxyExit = Socks5Exit | HttpConnectExit
"""An exit that carries TCP only."""
