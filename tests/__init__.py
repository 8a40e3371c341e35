"""The project's tests.  Owns: how chance is drawn: anew in each run, or, with
HYPOTHESIS_PROFILE=same, as in every run."""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True)
if profile := os.environ.get("HYPOTHESIS_PROFILE"):
    settings.load_profile(profile)
