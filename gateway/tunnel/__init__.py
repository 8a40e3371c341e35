"""The tunnel room: a gateway's side (client.Tunnel) and an exit (exit.Exit) of MASQUE.
Owns: CONNECT-UDP and CONNECT over HTTP/3 with mutual TLS; the certificates for it (authority).
Knows: RFC 9298, 9297, 9221, 9114, 9000.  Never: which flow is wrapped, or why.

A datagram's way, gateway:  udpflow -> http3 -> quic, flushed by driver, sent by attempt.
                 and exit:  exit -> driver -> http3 -> outward_udp -> gate -> the network.
"""
