"""gateway.watching: a policy's files, followed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway import config
from gateway.core import Core
from gateway.watching import Watch
from tests.support.bundled import world

GATEWAY = 'policy: policy.yaml\nlisteners: [{kind: socks5, address: "127.0.0.1:0"}]\n'


class WatchTests(SynchronousTestCase):
    """Changed files are loaded once they are left alone, and once only."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.write("gateway.yaml", GATEWAY)
        self.write("policy.yaml", "policy: first\n")
        self.clock = Clock()
        loaded = config.load(self.folder / "gateway.yaml")
        self.core = Core(self.clock, loaded, world())
        self.addCleanup(self.core.stop)
        self.watch = Watch(self.clock, self.core)
        self.watch.start()
        self.addCleanup(self.watch.stop)
        self.changes = 0

    def write(self, name: str, text: str) -> None:
        """Write a file; the file system's clock may be too coarse to tell two writings apart."""
        path = self.folder / name
        path.write_text(text)
        self.changes = getattr(self, "changes", 0) + 1
        os.utime(path, ns=(self.changes, self.changes))

    def look(self, times: int = 1) -> int:
        """Look so many times; give the epoch that is in force then."""
        for _ in range(times):
            self.clock.advance(1)
        return self.core.table.epoch.number

    def test_nothing(self) -> None:
        """Without a change nothing is loaded."""
        self.assertEqual(self.look(10), 1)

    def test_change_before_the_start(self) -> None:
        """A policy that is changed while the first one is being read is taken up too."""
        self.write("policy.yaml", "policy: second\n")
        late_ns = int(world().now().timestamp() * 1e9) + 1
        os.utime(self.folder / "policy.yaml", ns=(late_ns, late_ns))
        self.watch.stop()
        self.watch.start()
        self.assertEqual(self.look(2), 2)
        self.assertEqual(self.look(10), 2)

    def test_change(self) -> None:
        """A changed policy is in force two looks later, and is loaded once."""
        self.write("policy.yaml", "policy: second\n")
        self.assertEqual(self.look(), 1)
        self.assertEqual(self.look(), 2)
        self.assertEqual(self.core.table.epoch.policy.name, "second")
        self.assertEqual(self.look(10), 2)

    def test_being_written(self) -> None:
        """A file that changes from look to look is left alone until it does not."""
        for name in ("second", "third", "fourth"):
            self.write("policy.yaml", f"policy: {name}\n")
            self.assertEqual(self.look(), 1)
        self.assertEqual(self.look(), 2)
        self.assertEqual(self.core.table.epoch.policy.name, "fourth")

    def test_cases_beside(self) -> None:
        """Cases that come to stand beside the policy count: failing ones refuse it."""
        flow = "udp 10.1.0.2:5000 > 192.0.2.1:4001"
        self.write("policy.cases.yaml", f'cases: [{{flow: "{flow}", expect: {{action: allow}}}}]\n')
        self.assertEqual(self.look(3), 1)
        self.assertIn("this case fails: action is block", self.core.epochs.last.faults[0])

    def test_configuration(self) -> None:
        """So does a configuration that names another policy."""
        self.write("other.yaml", "policy: other\n")
        self.write("gateway.yaml", GATEWAY.replace("policy.yaml", "other.yaml"))
        self.assertEqual(self.look(2), 2)
        self.assertEqual(self.core.table.epoch.policy.name, "other")
        self.write("other.yaml", "policy: another\n")
        self.assertEqual(self.look(2), 3)

    def test_refused(self) -> None:
        """A refused one is not loaded again and again, and is when it is mended."""
        self.write("policy.yaml", "policy: second\ndefault: open\n")
        self.assertEqual(self.look(3), 1)
        last = self.core.epochs.last
        self.assertTrue(last.faults)
        self.look(5)
        self.assertIs(self.core.epochs.last, last)
        self.write("policy.yaml", "policy: second\n")
        self.assertEqual(self.look(3), 2)

    def test_gone(self) -> None:
        """A file that is gone is a refusal; the policy in force stays until it is back."""
        (self.folder / "policy.yaml").unlink()
        self.assertEqual(self.look(3), 1)
        self.assertTrue(self.core.epochs.last.faults)
        self.write("policy.yaml", "policy: back\n")
        self.assertEqual(self.look(3), 2)

    def test_configuration_gone(self) -> None:
        """A configuration that is gone is a refusal as well, and told once."""
        (self.folder / "gateway.yaml").rename(self.folder / "away")
        self.assertEqual(self.look(3), 1)
        last = self.core.epochs.last
        self.assertIn("No such file", last.faults[0])
        self.look(5)
        self.assertIs(self.core.epochs.last, last)
        (self.folder / "away").rename(self.folder / "gateway.yaml")
        self.assertEqual(self.look(3), 2)

    def test_saved_by_rename(self) -> None:
        """Editors write another file and give it the name (vim, sed -i), with a copy of the old one
        beside it for a moment: that is one change."""
        self.write("policy.yaml~", "policy: second\n")
        (self.folder / "policy.yaml").rename(self.folder / "4913")
        self.assertEqual(self.look(), 1)  # just now there is none
        (self.folder / "policy.yaml~").rename(self.folder / "policy.yaml")
        (self.folder / "4913").unlink()
        self.assertEqual(self.look(), 1)
        self.assertEqual(self.look(), 2)
        self.assertEqual(self.core.table.epoch.policy.name, "second")
        self.assertEqual(self.core.epochs.last.faults, ())
        self.assertEqual(self.look(10), 2)

    def test_checkout(self) -> None:
        """`git checkout` removes files and writes them anew, one after another, policy and cases:
        they are taken up together."""
        flow = "udp 10.1.0.2:5000 > 192.0.2.1:4001"
        case = f'cases: [{{flow: "{flow}", expect: {{action: allow}}}}]\n'
        allows = "policy: open\nrules: [{id: all, when: {}, action: allow}]\n"
        (self.folder / "policy.yaml").unlink()
        self.write("policy.cases.yaml", case)
        self.assertEqual(self.look(), 1)
        self.write("policy.yaml", allows)
        self.assertEqual(self.look(2), 2)
        self.assertEqual(self.core.epochs.last.faults, ())

    def test_folder_swapped(self) -> None:
        """A Kubernetes ConfigMap is a folder behind a link, `..data`, that is put into the place of
        another in one step; files of the policy are links into it."""
        mount = self.folder / "mount"
        self.config_map(mount, 1, "policy: first\ninclude: [./places.yaml]\n", "118.190.0.0/16")
        self.write("gateway.yaml", GATEWAY.replace("policy.yaml", "mount/policy.yaml"))
        self.assertEqual(self.look(2), 2)
        self.config_map(mount, 2, "policy: second\ninclude: [./places.yaml]\n", "118.190.0.0/16")
        self.assertEqual(self.look(2), 3)
        self.assertEqual(self.core.table.epoch.policy.name, "second")
        self.config_map(mount, 3, "policy: second\ninclude: [./places.yaml]\n", "118.191.0.0/16")
        before = self.core.table.epoch.policy.revision
        self.assertEqual(self.look(2), 4)
        self.assertNotEqual(self.core.table.epoch.policy.revision, before)
        self.assertEqual(self.look(10), 4)

    def config_map(self, mount: Path, number: int, policy: str, network: str) -> None:
        """Publish a policy as kubelet does (its atomic writer): a new folder, a new link, a rename,
        and the old folder goes."""
        names = {
            "policy.yaml": policy,
            "places.yaml": f"jurisdictions: {{china: {{networks: [{network}]}}}}\n",
        }
        fresh = mount / f"..{number}"
        fresh.mkdir(parents=True)
        for name, text in names.items():
            (fresh / name).write_text(text)
            if not (mount / name).is_symlink():
                (mount / name).symlink_to(f"..data/{name}")
        (mount / "..data_tmp").symlink_to(fresh.name)
        (mount / "..data_tmp").rename(mount / "..data")
        if number > 1:
            shutil.rmtree(mount / f"..{number - 1}")

    def test_values(self) -> None:
        """A file of identifiers is followed as well: what it names counts, and a bad one is
        refused."""
        self.write("ids.txt", "canary-4711\n")
        identifiers = "identifiers: {user-id: {values_file: ids.txt}}\n"
        self.write("gateway.yaml", GATEWAY + identifiers)
        self.assertEqual(self.look(2), 2)
        values = self.core.table.epoch.values
        assert values is not None
        self.assertTrue(values.find(b"canary-4711"))
        self.write("ids.txt", "canary-4711\ncanary-4712\n")
        self.assertEqual(self.look(2), 3)
        values = self.core.table.epoch.values
        assert values is not None
        self.assertTrue(values.find(b"canary-4712"))
        self.write("ids.txt", "a\n")
        self.assertEqual(self.look(2), 3)
        self.assertIn("ids.txt:1", str(self.core.epochs.last.faults))
