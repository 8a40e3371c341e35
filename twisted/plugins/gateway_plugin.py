"""`twist gateway`.  Owns: the plugin's name.  Knows: Twisted's plugin system.  Never: anything else."""

from twisted.application.service import ServiceMaker

gateway = ServiceMaker(
    "gateway", "gateway.twist", "Routing-policy enforcement gateway for real-time audio", "gateway"
)
