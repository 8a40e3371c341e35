"""Tests that the recognisers agree with nDPI, on captures outside the project."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import FlowKey, Protocol
from tests.support.rows import rows
from tests.wire import captures
from tests.wire.agreement import Held, held

# Each flow that the two name otherwise, and why; docs/recognisers.md has these and more.
_EXPLAINED = {
    "udp 192.168.1.2:30001 > 212.242.33.36:40393": "one RTCP packet; nDPI wants more than one",
    "udp 10.0.0.1:53187 > 10.0.0.2:9987": "TeamSpeak is not recognised here",
    "udp 193.31.25.70:2011 > 51.68.181.92:2010": "TeamSpeak is not recognised here",
    "udp [2600:1900:4160:5999:0:19::]:3478 > [2001:b07:a3d:c112:48a1:1094:1227:281e]:48094": (
        "STUN to both; nDPI writes that address in a form that is none"
    ),
}
_NAMES = (
    "agora-sd-rtn.pcap",
    "conncheck.pcap",
    "discord.pcap",
    "dtls2.pcap",
    "gquic.pcap",
    "quic-v2.pcapng",
    "quic_q46.pcap",
    "rtcp_multiple_pkts_in_the_same_datagram.pcap",
    "rtp.pcapng",
    "sip.pcap",
    "sip_hello.pcapng",
    "skype-conference-call.pcap",
    "stun.pcap",
    "stun_signal.pcapng",
    "teamspeak3.pcap",
    "wa_voice.pcap",
)


@rows(capture={name: (name,) for name in _NAMES})
class AgreementTests(SynchronousTestCase):
    """nDPI's label of each flow of our field, as it comes with its captures."""

    def check_capture(self, name: str) -> None:
        """The two agree on each flow of our field, but for those whose reason is written down."""
        capture = captures.foreign(name)
        text = capture.with_name(f"{name}.out").read_text()
        flows = [one for one in held(capture, text) if one.is_of_our_field]
        odd = [str(one) for one in flows if not one.agrees and str(one.key) not in _EXPLAINED]
        self.assertEqual(odd, [])


@rows(
    flow={
        "the same": ("STUN.Zoom", Protocol.STUN, True),
        "another": ("STUN.Zoom", Protocol.UNKNOWN, False),
        "nothing of our field, and nothing said": ("NTP", Protocol.UNKNOWN, True),
        "nothing of our field, and something said": ("NTP", Protocol.WIREGUARD, False),
        "what is not recognised here": ("Viber", Protocol.UNKNOWN, False),
        "a flow that it does not list": ("", Protocol.RTP, False),
    }
)
class HeldTests(SynchronousTestCase):
    """What counts as agreement."""

    def check_flow(self, label: str, told: Protocol, agrees: bool) -> None:
        """Its protocol is among ours; and what it does not see we do not see either."""
        key = FlowKey.parse("udp 10.1.0.2:5000 > 192.0.2.1:443")
        self.assertIs(Held("x.pcap", key, label, ((told, 3),)).agrees, agrees)
