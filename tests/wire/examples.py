"""Legal bytes of every protocol.  Owns: one example each, built or from an RFC.
Knows: the RFCs named.  Never: the recognisers."""

from __future__ import annotations

import ssl
import struct

from twisted.names import dns as names

from gateway.model import Transport
from tests.wire import captures, initials

# RFC 5769 section 2.1: a binding request of the user "evtj:h6vY".
STUN = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
# RFC 9001 appendix A.2: a client's first datagram; the protected part stands for itself.
QUIC = bytes.fromhex("c000000001088394c8f03e5157080000449e") + b"\x5a" * 1182


def turn(kind: int, attributes: bytes = b"") -> bytes:
    """Build a STUN message (RFC 8489 section 5)."""
    return struct.pack(">HHI", kind, len(attributes), 0x2112A442) + bytes(12) + attributes


def attribute(kind: int, value: bytes) -> bytes:
    """Build a STUN attribute with its padding."""
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def peer(address: bytes) -> bytes:
    """Build an XOR-PEER-ADDRESS for the transaction id of `turn` (RFC 8656 section 18.3)."""
    mask = bytes.fromhex("2112a442") + bytes(12)
    masked = bytes(octet ^ key for octet, key in zip(address, mask, strict=False))
    return attribute(0x12, bytes((0, 1 if len(address) == 4 else 2, 0, 0)) + masked)


def rtp(payload_type: int = 111, *, first: int = 0x80, body: bytes = b"\x5a" * 160) -> bytes:
    """Build an RTP packet (RFC 3550 section 5.1)."""
    return struct.pack(">BBHII", first, payload_type, 7, 960, 0x1234ABCD) + body


def sender_report(blocks: int = 0) -> bytes:
    """Build an RTCP SR (RFC 3550 section 6.4.1)."""
    words = 6 + 6 * blocks
    return struct.pack(">BBH", 0x80 | blocks, 200, words) + b"\x11" * 4 * words


def sdes(*items: tuple[int, bytes]) -> bytes:
    """Build an RTCP SDES of one source (RFC 3550 section 6.5)."""
    body = b"\x11" * 4 + b"".join(bytes((kind, len(text))) + text for kind, text in items)
    body += bytes(4 - len(body) % 4)
    return struct.pack(">BBH", 0x81, 202, len(body) // 4) + body


def client_hello(name: str | None) -> bytes:
    """Have OpenSSL write the first record of a TLS connection."""
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without a server")


def in_records(hello: bytes, record_len: int) -> bytes:
    """Split a one-record ClientHello over several records (RFC 8446 section 5.1)."""
    body = hello[5:]
    return b"".join(
        hello[:3] + len(body[at : at + record_len]).to_bytes(2, "big") + body[at : at + record_len]
        for at in range(0, len(body), record_len)
    )


def dtls_record(kind: int, body: bytes, *, epoch: int = 0) -> bytes:
    """Build a DTLS 1.2 record (RFC 6347 section 4.1)."""
    return struct.pack(">BHHHIH", kind, 0xFEFD, epoch, 0, 1, len(body)) + body


def dtls_client_hello(name: str) -> bytes:
    """Build a DTLS ClientHello of the TLS one: a cookie, and a header that can be in fragments."""
    body = client_hello(name)[9:]
    cookie_at = 2 + 32 + 1 + body[34]
    body = body[:cookie_at] + b"\x04cook" + body[cookie_at:]
    length = len(body).to_bytes(3, "big")
    return dtls_record(22, b"\x01" + length + bytes(2) + bytes(3) + length + body)


def query(name: str = "ap3.Agora.io") -> bytes:
    """Have Twisted write a DNS query."""
    message = names.Message(id=0x8A5F, recDes=1)
    message.addQuery(name.encode("ascii"), names.AAAA)
    return bytes(message.toStr())


def answer(name: str = "www.example.org") -> bytes:
    """Build a DNS answer of two addresses, their names compressed (RFC 1035 section 4.1.4)."""
    question = query(name)
    record = bytes.fromhex("c00c 0001 0001 0000003c 0004 c6336401")
    return question[:2] + bytes.fromhex("8180 0001 0002 0000 0000") + question[12:] + record * 2


REQUEST = (
    b"GET /v1/quality?listener=287454020&channelName=SEEDROOM HTTP/1.1\r\n"
    b"User-Agent: x\r\nhOst: Argus.Agoralab.co.:80\r\n\r\n"
)
SIP = (
    b"REGISTER sip:registrar.example SIP/2.0\r\n"
    b"Via: SIP/2.0/TCP 192.0.2.4;branch=z9hG4bKnashds7\r\n"
    b"f: Bob <sip:bob@biloxi.example>;tag=456248\r\nTo: Bob <sip:bob@biloxi.example>\r\n"
    b"Call-ID: 843817637684230@998sdasdh09 \r\nContact: <sip:bob@192.0.2.4>, <tel:+15550100>\r\n"
    b'Authorization: Digest username="bobby", realm="x"\r\nContent-Length: 0\r\n\r\n'
)


def all_of_them() -> list[tuple[Transport, bytes]]:
    """Give an example of everything that is recognised, as it travels."""
    agora = (
        "PPing1_v7 PPong1_v7 PPing2_v2 PAudioData_v3 PBroadcastPacket3 PLoginVos_v7 PQuitVos "
        "PCreateChannelAndGetAddrs_v5 PCreateChannelAndGetAddrs_Res_v5 PAPCdsTdsReq report-edge "
        "PSyncCapabilitySetReq PLoginVosRes_v3 PGetReportAPAddrsReq"
    ).split()
    known = {line.expected["msg"]: line.payload for line in captures.lines(captures.TOKEN)}
    known["PQuitVos"] = bytes.fromhex("0e0001000300dec0ad0b44332211")
    datagrams = [known[message] for message in agora]
    datagrams += [hello("192-0-2-1.edge.agora.io"), STUN, QUIC, query(), answer(), rtp()]
    datagrams += [sender_report() + sdes((1, b"u@h")), dtls_client_hello("a.example")]
    datagrams += [SIP, turn(8, peer(b"\xc0\0\2\1")), turn(0x16, attribute(0x13, STUN))]
    datagrams += [b"\x40\x01\x00\xac" + rtp(), b"\x40\x01" + len(STUN).to_bytes(2, "big") + STUN]
    datagrams += [initials.initial(initials.RFC_CRYPTO), b"\1\0\0\0" + b"\x5a" * 144]
    datagrams += [b"\0\1\0\x46\0\0\xac\xe3" + bytes(66), b"\x13\x37\xca\xfe\x0e\0\0\0"]
    datagrams += [b"\x5a" * 16 + b"\xff" * 16, b"\5" + bytes(7) + b"\x0f" + bytes(18) + rtp()]
    streams = [SIP, known["PAPCdsTdsReq"], client_hello("a.example"), REQUEST, STUN]
    streams += [len(query()).to_bytes(2, "big") + query()]
    return [(Transport.UDP, one) for one in datagrams] + [(Transport.TCP, one) for one in streams]


def hello(name: str, *more: tuple[bytes, bytes]) -> bytes:
    """Build an SD-RTN hello with the tags of a client that has no certificate yet."""
    tags = ((b"SNI\0", name.encode("ascii")), (b"PDMD", b""), (b"CPTO", b"\x5a" * 129), *more)
    return bytes.fromhex("005a384c00002100000000") + b"\0" + sd_rtn_tags(*tags)


def sd_rtn_tags(*tags: tuple[bytes, bytes]) -> bytes:
    """Build the tags behind the header of an SD-RTN handshake datagram."""
    parts = (tag + struct.pack("<H", len(value)) + value for tag, value in tags)
    return bytes((len(tags),)) + b"".join(parts)


HELLO_OTHER_ORDER = (
    bytes.fromhex("005a384c00002100000000")
    + b"\0"
    + sd_rtn_tags((b"PDMD", b""), (b"SNI\0", b"a.example"))
)
