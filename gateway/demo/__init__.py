"""The demo.  Owns: a captured call, played through a running gateway on loopback.
Knows: service, the capture's form.  Never: a host outside loopback."""

from gateway.demo.play import play
from gateway.demo.report import Result, as_json, show

__all__ = ["Result", "as_json", "play", "show"]
