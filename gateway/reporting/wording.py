"""What the tables of a report are called.  Owns: their titles and what each is, for people.
Never: numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """What a table says."""

    title: str
    about: str


WORDS = {
    "actions": Words(
        "What was decided",
        "Each flow is decided when its first packet comes, and again when a packet of it asks for "
        "another look. Numbers are decisions, not packets.",
    ),
    "epochs": Words(
        "Policy and data in force",
        "By their hashes, with the first and the last record under each. A record says that it "
        "came into force (entered): at a start, with a reload, and at midnight, UTC. One that "
        "none says so of came into force before this period.",
    ),
    "countries": Words(
        "Contacts by country",
        "A destination counts for each country that any source names on any axis (location, "
        "registration, operator). What was blocked was asked for, and not contacted.",
    ),
    "jurisdictions": Words(
        "Contacts by jurisdiction",
        "As the policy names them. A destination counts for each jurisdiction that it is in.",
    ),
    "undetermined": Words(
        "Where a jurisdiction could not be excluded",
        "For want of evidence, or because sources disagree.",
    ),
    "rules": Words("Decisions by rule", "With the reason that the policy gives."),
    "traffic": Words("Decisions by traffic", "What was recognised; empty: it could not be told."),
    "identifiers": Words(
        "Identifiers in plaintext",
        "By kind. Wrapped, they left encrypted; blocked, not at all; allowed or rerouted, as they "
        "were.",
    ),
    "shadow": Words(
        "What rules in shadow would have done", "These rules were not enforced: the others decided."
    ),
    "leaks": Words(
        "Alarms of the leak finder",
        "Flows that showed an identifier by its value, and sweeps of many destinations; each is "
        "told once a flow and kind.",
    ),
    "not-carried": Words(
        "What was not carried",
        "A verdict that could not be carried out is a block. Told once a flow and reason.",
    ),
    "barred": Words(
        "Names barred", "Names that were refused before they were resolved; the names are digests."
    ),
    "canaries": Words(
        "Canaries",
        "Flows that the gateway judges, and sends itself, to see that they are still held; "
        "through says by which way.",
    ),
    "gaps": Words(
        "Gaps",
        "Ends that were not clean, records that could not be written, lines that are no record. "
        "What retention removed stands above, with what verifying says.",
    ),
}
"""Of each table of `tables`, in the report's order for people."""
