"""Reviewing policies before they are in force.  Owns: what people ask about a policy and its cases.
Knows: epochs and their sources.  Never: carrying anything out; printing."""
