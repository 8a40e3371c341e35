"""Pseudonyms for what leaves by an exit.  Owns: identifiers ⇄ pseudonyms of the day, in datagrams.
Knows: wire's recognisers, NIST SP 800-38G (FF1).  Never: sockets, which flows are scrubbed.
"""
