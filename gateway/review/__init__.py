"""What admins ask before a policy or data are in force.  Owns: what changes, for which addresses
and for which recorded flows, and why.  Knows: epochs, geo's cells.
Never: putting anything into force; listeners, kernel, tunnels."""
