"""Reports on evidence: what a decision log says, for those who were not there.  Owns: the account
of a period, and its page.  Knows: evidence, DuckDB.  Never: a running gateway; changing a log."""
