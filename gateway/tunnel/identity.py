"""Who an exit is, and whom it serves, now.  Owns: reading its files again when they change.
Knows: credentials.  Never: sockets, HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aioquic.quic.configuration import QuicConfiguration
from twisted.logger import Logger

from gateway.errors import CarryError
from gateway.regular import status_of
from gateway.tunnel.credentials import Credentials, GatewayVerifier, Transfer, configuration

_log = Logger(namespace="gateway.tunnel")

# So often at most are the files looked at, however many knock.
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Presented:
    """What one connection is begun with."""

    configuration: QuicConfiguration
    verifier: GatewayVerifier


class Identity:
    """An exit's certificate and authority: new connections get what the files say by then."""

    def __init__(
        self, credentials: Credentials, transfer: Transfer, gateways: Sequence[str]
    ) -> None:
        """Read the files.

        Raises:  CarryError: one cannot be used.
        """
        self._credentials = credentials
        self._transfer = transfer
        self._gateways = gateways
        self._seen = self._look()
        self._looked_s = float("-inf")
        self._presented = self._read()

    @property
    def versions(self) -> Sequence[int]:
        """The versions of QUIC that are spoken."""
        return self._presented.configuration.supported_versions

    def now(self, now_s: float) -> Presented:
        """Give what to begin a connection with; files that cannot be used change nothing."""
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._renew()
        return self._presented

    def _renew(self) -> None:
        try:
            self._presented = self._read()
        except CarryError as error:
            _log.error("certificates have changed and are not used: {reason}", reason=error.what)
        else:
            _log.info("certificates have changed: new connections use them")

    def _read(self) -> Presented:
        presented = configuration(self._credentials, self._transfer)
        return Presented(presented, GatewayVerifier(self._credentials.ca, self._gateways))

    def _look(self) -> list[tuple[int, int, int] | None]:
        files = self._credentials
        return [status_of(one) for one in (files.ca, files.certificate, files.key)]
