"""What router mode costs, beside plain forwarding, nftables and other gateways.
Owns: scripts/bench router.  Knows: the tests' namespaces.  Never: part of the tests."""
