"""Sources of an epoch.  Owns: the policy and the data that a configuration names, loaded and held
against each other.  Knows: config, policy, geo.  Never: the clock, sockets, what is in force."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from gateway import geo, policy
from gateway.config import Config, InterfaceExit, ProxyExit, Socks5Exit
from gateway.errors import AddressError, DataError, InputError, Problem
from gateway.evidence.captured import CapturedFrames
from gateway.flow.cases import run_cases
from gateway.flow.epoch import Epoch
from gateway.leaks import Values
from gateway.model import SCRUBBED, Action, Endpoint, FlowKey, Transport


def load_epoch(
    config: Config,
    number: int,
    today: datetime.date,
    kept: Path | None = None,
    values: Values | None = None,
) -> Epoch:
    """Load what a configuration names: its policy and its data.

    Args:    kept: a policy that passed its cases before, instead of the one that is named.
             values: of the epoch before; they take long to make, and are taken over if the same
             identifiers are named.
    Raises:  InputError: with every fault of the policy, the data and what refers to them, and every
             case of the policy that fails.
    """
    problems: list[Problem] = []
    loaded = atlas = None
    try:
        path = kept or config.path(config.policy)
        loaded = load_policy(path, today)
        problems += _unknown_targets(config, loaded)
    except InputError as error:
        problems += error.problems
    try:
        atlas = load_atlas(config, today)
    except DataError as error:
        problems.append(config.problem("geo", says=str(error)))
    try:
        values = config.values(values)
    except InputError as error:
        problems += error.problems
    if loaded is not None and atlas is not None:
        epoch = Epoch.of(number, loaded, atlas, values)
        problems += _barred_ways(config, epoch)
        if kept is None:
            problems += _failing_cases(epoch)
        if not problems:
            return epoch
    raise InputError(problems)


def load_policy(path: str | Path, today: datetime.date) -> policy.Policy:
    """Load a policy file, and the cases and captures beside it.

    Raises:  InputError: with every fault of the files.
    """
    return load_whole(path, today).policy


def load_whole(path: str | Path, today: datetime.date) -> policy.Loaded:
    """As load_policy, and keep what the policy was made of.

    Raises:  InputError: with every fault of the files.
    """
    return policy.load_whole(path, today, CapturedFrames().read)


def _failing_cases(epoch: Epoch) -> Iterable[Problem]:
    """A policy that does not do what its author says it does is not put into force."""
    for result in run_cases(epoch):
        if result.failure is not None:
            yield replace(result.case.place, sentence=f"this case fails: {result.failure}")


def load_atlas(config: Config, today: datetime.date, fused: geo.Bundled | None = None) -> geo.Atlas:
    """Load the data that a configuration names.

    Args:    fused: in place of the bundled or updated data, to see what they would do.
    Raises:  DataError: a file that is missing or corrupt, or no source at all.
    """
    sources = [
        (fused or fused_of(config))
        if isinstance(source, str)
        else geo.Mmdb(config.path(source.mmdb), source.axis)
        for source in config.geo.sources
    ]
    overrides = [
        geo.Override(
            network=one.network,
            location=one.location,
            registration=one.registration,
            operator=one.operator,
            reason=one.reason,
            expires=one.expires,
        )
        for one in config.geo.overrides
    ]
    return geo.load(
        sources,
        overrides,
        today=today,
        max_age_days=config.geo.max_age_days,
        owners_max_age_days=config.geo.owners_max_age_days,
        nat64_prefixes=config.geo.nat64_prefixes,
    )


def fused_of(config: Config) -> geo.Bundled:
    """Give the fused file that a configuration means: bundled, or updated if there is such."""
    updates = config.geo.updates
    if updates is None or "updated" not in config.geo.sources:
        return geo.Bundled()
    path = config.path(updates.current)
    # A link that leads nowhere is not "none yet": it is loaded, and refused.
    if path.parent.is_symlink() or path.exists():
        return geo.Bundled(path)
    note = f"no update is in {config.path(updates.directory)} yet: the bundled data are used"
    return geo.Bundled(note=note)


def _unknown_targets(config: Config, loaded: policy.Policy) -> Iterable[Problem]:
    exits = {one.name for one in config.exits}
    relays = {one.name for one in config.relays}
    plaintext = {one.name for one in config.proxies if one.is_plaintext}
    for verdict, place in loaded.targets():
        known = exits | relays if verdict.action is Action.REROUTE else exits | {"nearest"}
        named = (verdict.target or "").removeprefix(SCRUBBED)
        if named not in known:
            kind = "relay or exit" if verdict.action is Action.REROUTE else "exit"
            names = ", ".join(sorted(known)) or "none"
            yield Problem(
                place.file,
                place.line,
                place.column,
                f'rule "{verdict.rule}": no {kind} is called "{named}"; known: {names}',
            )
        elif verdict.action is Action.WRAP and verdict.target in plaintext:
            says = f'rule "{verdict.rule}": a wrap promises encryption, and the way to the proxy'
            says += f' "{verdict.target}" is plaintext; a reroute may take it'
            yield Problem(place.file, place.line, place.column, says)


def _barred_ways(config: Config, epoch: Epoch) -> Iterable[Problem]:
    """Find relays and exits that stand where a block rule lets nothing go."""
    for at, relay in enumerate(config.relays):
        rule = barring(epoch, Endpoint.parse(relay.address), also_perhaps=True)
        if rule is not None:
            says = f'relay "{relay.name}" stands, or may stand, where rule "{rule}" lets nothing go'
            yield config.problem("relays", at, "address", says=says)
    for at, one in enumerate(config.exits):
        if isinstance(one, InterfaceExit):
            continue  # where an interface leads is the operator's word
        host = one.at[0] if isinstance(one, ProxyExit) else urlsplit(one.url).hostname or ""
        try:
            endpoint = Endpoint.of(host, 0)
        except AddressError:
            continue  # a name: its address is judged by whoever resolves it
        # As a relay: who is sent plaintext must not even perhaps stand there.
        is_plaintext = isinstance(one, ProxyExit) and one.is_plaintext
        rule = barring(epoch, endpoint, also_perhaps=is_plaintext)
        if rule is not None:
            perhaps = ", or may stand," if is_plaintext else ""
            says = f'exit "{one.name}" stands{perhaps} where rule "{rule}" lets nothing go'
            key = "address" if isinstance(one, Socks5Exit) else "url"
            yield config.problem("exits", at, key, says=says)


def barring(epoch: Epoch, endpoint: Endpoint, *, also_perhaps: bool) -> str | None:
    """Give the block rule that bars a way's own address, or None.

    Args:    also_perhaps: an address that may be in a barred jurisdiction is barred too.
    """
    key = FlowKey(Transport.UDP, Endpoint(bytes(4), 0), endpoint)
    found = epoch.policy.jurisdictions_of(epoch.seen(key, None))
    barred = found.members | found.undetermined if also_perhaps else found.members
    for rule in epoch.policy.rules:
        if not rule.bars.isdisjoint(barred):
            return rule.id
    return None
