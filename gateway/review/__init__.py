"""What people ask of a policy and its data before they are in force: what is odd, which cases are
missing, what changes.  Never: putting anything into force; listeners, kernel, tunnels."""
