"""The audit of captures.  Owns: frames → flows with facts and verdicts, their summary, its faces.
Knows: evidence (captures), an epoch.  Never: live traffic, what a recogniser knows.

`Audit` reads frames in one straight loop; `flows` holds what it counts, `summary` what remains of a
flow that ended, `account`, `text` and `page` are how it is told."""
