"""The kernel's part of router mode.  Owns: desired rules, marks, ways, queues as values; applying
them; the judge of what the kernel asks.  Knows: nftables, netlink, pyroute2.
Never: what may go where (the gate decides), tunnels, listeners, evidence.

A verdict is a mark: Python gives it to a flow's first packet, the kernel keeps it and carries the
rest.  Whatever has no mark of the epoch in force goes nowhere."""
