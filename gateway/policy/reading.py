"""Reading flows.  Owns: a section that gives a flow → Given, with the payload that it names.
Knows: the language's sections; files of octets.
Never: formats of captures; their reader is handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.errors import DataError
from gateway.model import Axis, Content, Evidence, FlowKey, Identifier, Protocol
from gateway.policy.given import Given
from gateway.policy.sections import FlowSection
from gateway.regular import open_regular

Frames = Callable[[Path, int], tuple[FlowKey, bytes]]
"""Gives the flow (from its sender) and the payload of a capture's frame, counted from 1.
Raises DataError."""

# The longest datagram (RFC 768); of a stream the gateway holds less.
_MAX_PAYLOAD_LEN = 65_535

# As the source of what a person said of a destination.
GIVEN = "given"


def no_frames(path: Path, number: int) -> tuple[FlowKey, bytes]:
    """Refuse captures."""
    raise DataError(str(path), "captures cannot be read here", "a payload as hex or file")


def given_of(folder: Path, section: FlowSection, frames: Frames = no_frames) -> Given:
    """Read a flow as a person gives it.

    Args:    folder: what the paths of payloads start from.
    Raises:  AddressError: the flow is none; DataError: the payload cannot be read.
    """
    key = None if section.flow is None else FlowKey.parse(section.flow)
    payload = None
    if section.payload is not None:
        found, payload = stored_payload(folder, section.payload.model_dump(), frames)
        key = key or found
    assert key is not None, "FlowSection asks for a flow, or a frame"
    return Given(
        key=key,
        payload=payload,
        content=_content(section),
        names=tuple(name.lower().rstrip(".") for name in section.names),
        evidence=_evidence(section, key),
    )


def stored_payload(
    folder: Path, payload: Mapping[str, object], frames: Frames
) -> tuple[FlowKey | None, bytes | None]:
    """Read the payload that a section, or what is meant to be one, names; of a captured frame its
    flow too.

    Raises:  DataError: a file that cannot be read, a frame that is not there or carries nothing.
    """
    match payload:
        case {"hex": str(text)}:
            return None, _octets(text)
        case {"file": str(name)}:
            return None, _contents(folder, name)
        case {"capture": str(name), "frame": int(number)} if number >= 1:
            return frames(folder / name, number)
    return None, None


def _octets(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None  # the section's own fault, told with its reason there


def _contents(folder: Path, name: str) -> bytes:
    try:
        with open_regular(folder / name) as file:
            octets = file.read(_MAX_PAYLOAD_LEN + 1)
    except (OSError, ValueError) as error:  # ValueError: an octet 0 in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(name, reason, "a file with the payload") from error
    if len(octets) > _MAX_PAYLOAD_LEN:
        raise DataError(name, "is longer than 65535 octets", "one payload")
    return octets


def _content(section: FlowSection) -> Content | None:
    """Make the content that is described instead of a payload."""
    if section.traffic is None and section.protocol is None and section.plaintext is None:
        return None
    plaintext = None
    if section.plaintext is not None:
        plaintext = tuple(Identifier(kind, 0, 0) for kind in section.plaintext)
    return Content(section.protocol or Protocol.UNKNOWN, "", section.traffic, plaintext)


def _evidence(section: FlowSection, key: FlowKey) -> tuple[Evidence, ...] | None:
    if section.to is None:
        return None
    said = [
        *((Axis.LOCATION, value) for value in section.to.location),
        *((Axis.REGISTRATION, value) for value in section.to.registration),
        *((Axis.OPERATOR, value) for value in section.to.operator),
        *((Axis.OPERATOR, f"AS{asn}") for asn in section.to.asn),
    ]
    return tuple(Evidence(*one, GIVEN, "", key.destination.host) for one in said)
