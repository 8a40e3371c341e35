"""`twist gateway --config gateway.yaml`.  Owns: the plugin's options and service.
Knows: twisted.application.  Never: what a gateway is made of."""

from __future__ import annotations

import signal
import sys
from typing import Any, ClassVar

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.python import usage

from gateway import config
from gateway.core import World
from gateway.errors import GatewayError
from gateway.service import Gateway


class Options(usage.Options):
    """Options of `twist gateway`."""

    optParameters: ClassVar = [["config", "c", "gateway.yaml", "The configuration file."]]


class GatewayService(Service):
    """A gateway as a Twisted service."""

    def __init__(self, reactor: Any, gateway: Gateway) -> None:
        self.reactor = reactor
        self.gateway = gateway

    def startService(self) -> None:
        """IService API."""
        super().startService()
        signal.signal(signal.SIGHUP, self._reload)
        self.gateway.start()

    def _reload(self, *_: object) -> None:
        self.reactor.callFromThread(self.gateway.core.reload)

    def stopService(self) -> Deferred[object]:
        """IService API."""
        super().stopService()
        return self.gateway.stop()


def makeService(options: Options) -> IService:
    """IServiceMaker API."""
    from twisted.internet import reactor  # twist chose it by now

    try:
        gateway = Gateway(reactor, config.load(options["config"]), World.of_host())
    except GatewayError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    return GatewayService(reactor, gateway)
