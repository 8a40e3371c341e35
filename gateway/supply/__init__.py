"""Newer data.  Owns: `gateway update`: where data come from, their forms, the checks before they
are used, the folder that they are put into.  Knows: https, the forms that publishers write.
Never: what is in force in a running gateway (it reloads); the bundled file."""
