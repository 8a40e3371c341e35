"""`twist gateway`.  Owns: the plugin's name.  Knows: Twisted's plugins.
Never: what a gateway is."""

from twisted.application.service import ServiceMaker

gateway = ServiceMaker(
    "gateway", "gateway.twist", "Routing-policy enforcement gateway for real-time audio", "gateway"
)
