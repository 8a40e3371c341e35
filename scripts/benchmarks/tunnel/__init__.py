"""scripts/bench tunnel: what a datagram costs at each end of a tunnel, beside plain relays."""
