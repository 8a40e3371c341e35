"""policies/jurisdictions: the lists that come with the gateway."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.document import parse, read, validate
from gateway.model import Axis
from gateway.policy import check_list, compile_policy
from gateway.policy.countries import COUNTRIES
from gateway.policy.sets import ListSection
from gateway.policy.sources import LIBRARY
from tests.support.facts import TODAY
from tests.support.rows import rows

FILES = sorted(LIBRARY.glob("*.yaml"))
EU = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()
)
# Parts of France and Finland in which Union law applies.
OUTERMOST = frozenset("AX GF GP MF MQ RE YT".split())


def countries(name: str, of: str | None = None) -> frozenset[str]:
    """Give what a list's jurisdiction asks for on each axis, which must be the same on all."""
    text = f"policy: p\ninclude: [{of or name}]\n"
    asked = compile_policy(parse(text, "policy.yaml"), TODAY).jurisdictions[name].countries
    assert set(asked) == set(Axis), f"{name} does not ask every axis"
    (found,) = set(asked.values())
    return found


@rows(
    list={one.stem: (one.stem,) for one in FILES},
    members={
        "mainland China is CN alone": ("mainland-china", "CN"),
        "with Hong Kong and Macao": ("mainland-china-hk-mo", "CN HK MO"),
        "Hong Kong": ("hong-kong", "HK"),
        "Macao": ("macao", "MO"),
        "Russia": ("russia", "RU"),
        "Belarus": ("belarus", "BY"),
        "Iran": ("iran", "IR"),
        "North Korea": ("north-korea", "KP"),
        "Cuba": ("cuba", "CU"),
        "the five of UKUSA": ("five-eyes", "AU CA GB NZ US"),
        "comprehensive embargoes": ("sanctioned", "CU IR KP"),
    },
)
class LibraryTests(SynchronousTestCase):
    """Every list is sound, dated, owned, and says what its name says."""

    def check_list(self, stem: str) -> None:
        """It defines what its file is called, and says who, why, from where and until when."""
        path = LIBRARY / f"{stem}.yaml"
        self.assertGreater(check_list(path), 0)
        section = validate(read(path), ListSection)
        self.assertIn(stem, section.jurisdictions)
        for one in section.jurisdictions.values():
            said = section.reviewed_as(one)
            self.assertTrue(said.owner and said.reason and said.source and said.reviewed)
            assert said.reviewed is not None and said.review_by is not None
            self.assertLess(said.reviewed, said.review_by)

    def check_members(self, name: str, expected: str) -> None:
        """It has these countries and no others."""
        self.assertEqual(countries(name), frozenset(expected.split()))

    def test_europe(self) -> None:
        """The Union has 27 members, and the EEA three more."""
        self.assertEqual(len(EU), 27)
        self.assertEqual(countries("european-union"), EU | OUTERMOST)
        self.assertEqual(countries("european-economic-area"), EU | OUTERMOST | {"IS", "LI", "NO"})

    def test_only(self) -> None:
        """Sets for allowing have the same members, and ask every source to agree."""
        for stem in ("european-union", "european-economic-area", "five-eyes"):
            only = f"{stem}-only"
            self.assertEqual(countries(only, stem), countries(stem))
            loaded = compile_policy(parse(f"policy: p\ninclude: [{stem}]\n", "p.yaml"), TODAY)
            self.assertTrue(loaded.jurisdictions[only].must_agree)

    def test_adequate(self) -> None:
        """Adequacy decisions for some receivers only are apart from the others."""
        whole = countries("gdpr-adequate")
        partly = countries("gdpr-adequate-partly", "gdpr-adequate")
        self.assertEqual(whole, frozenset("AD AR CH FO GB GG IL IM JE JP KR NZ UY".split()))
        self.assertEqual(partly, {"CA", "US"})
        self.assertFalse((whole | partly) & EU)

    def test_together(self) -> None:
        """All lists can be included together, and no name stands twice."""
        text = f"policy: p\ninclude: [{', '.join(one.stem for one in FILES)}]\n"
        loaded = compile_policy(parse(text, "policy.yaml"), TODAY)
        self.assertGreater(len(loaded.jurisdictions), len(FILES))

    def test_assigned(self) -> None:
        """ISO 3166-1 has 249 assigned codes; XK is Kosovo's in the data."""
        self.assertEqual(len(COUNTRIES), 250)
