"""Hosts of one's own on one Linux machine: each has its own network address, processes, memory files and home.

A host is a network namespace on a bridge, with namespaces for processes, mounts and names in which sshd runs. The disk
is shared, as a cluster's shared folder is, but for /root, /tmp/ray and /dev/shm. Needs root, iproute2, openssh-server
and rsync.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

BRIDGE, NET, NAME = "rdstudy0", "10.78.0", "rdhost"
NEEDED = ("ip", "unshare", "sshd", "rsync", "ssh-keygen")


def lacking() -> list[str]:
    """Programs that are needed and not there."""
    return [name for name in NEEDED if shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin") is None]


def _ip(*words: object) -> None:
    subprocess.run(["ip", *map(str, words)], check=True)


def _tidy() -> None:
    """Remove what a test that was killed left behind."""
    for line in subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout.splitlines():
        if line.startswith(NAME):
            _ip("netns", "del", line.split()[0])
    subprocess.run(["ip", "link", "del", BRIDGE], check=False, capture_output=True)


class Hosts:
    """Isolated hosts, numbered from 1."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, folder / "key"
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host_key"], check=True)
        _tidy()
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{NET}.254/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")

    def address(self, number: int) -> str:
        return f"{NET}.{number}"

    def start(self, number: int) -> None:
        """Switch a host on, and wait until it answers."""
        name, home = f"{NAME}{number}", self.folder / f"host{number}"
        for part in ("upper", "work"):
            (home / part).mkdir(parents=True, exist_ok=True)
        _ip("netns", "add", name)
        _ip("link", "add", f"rdv{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", f"rdv{number}", "master", BRIDGE, "up")
        _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "route", "add", "default", "via", f"{NET}.254")  # Ray asks it which address is this host's
        boot = f"""
            set -e
            mount -t proc proc /proc
            mount -t overlay overlay -o lowerdir=/root,upperdir={home}/upper,workdir={home}/work /root
            mount -t tmpfs tmpfs /dev/shm
            mkdir -p /tmp/ray /run/sshd
            mount -t tmpfs tmpfs /tmp/ray
            test -e {home}/booted || rm -rf /root/.ray /root/.ssh
            touch {home}/booted
            mkdir -p -m 700 /root/.ssh
            install -m 600 {self.key}.pub /root/.ssh/authorized_keys
            hostname {name}
            exec /usr/sbin/sshd -D -e -h {self.folder}/host_key -o UsePAM=no -o PermitRootLogin=yes \
                -o StrictModes=no -o PidFile=none
        """
        namespaces = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        with (home / "log").open("wb") as log:
            self.running[number] = subprocess.Popen(
                ["ip", "netns", "exec", name, *namespaces, "bash", "-c", boot], stdout=log, stderr=log
            )
        until = time.monotonic() + 30
        while self.ssh(number, "true", check=False).returncode:
            if time.monotonic() > until:
                raise RuntimeError(f"host {number} does not answer: {(home / 'log').read_text()}")
            time.sleep(0.2)

    def ssh(self, number: int, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on a host."""
        return subprocess.run([*self.ssh_command(number), command], check=check, capture_output=True, text=True)

    def ssh_command(self, number: int) -> list[str]:
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        chosen = [word for option in options for word in ("-o", option)]
        return ["ssh", "-i", str(self.key), *chosen, "-o", "ConnectTimeout=5", f"root@{self.address(number)}"]

    def power_off(self, number: int) -> None:
        """Pull a host's plug: all its processes are gone at once, and its network with them."""
        process = self.running.pop(number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        subprocess.run(["ip", "netns", "del", f"{NAME}{number}"], check=False)
        subprocess.run(["ip", "link", "del", f"rdv{number}"], check=False, capture_output=True)

    def cut(self, number: int) -> None:
        """Pull a host's network cable."""
        _ip("link", "set", f"rdv{number}", "down")

    def heal(self, number: int) -> None:
        """Put it back."""
        _ip("link", "set", f"rdv{number}", "up")

    def end(self) -> None:
        for number in list(self.running):
            self.power_off(number)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False)


@contextlib.contextmanager
def hosts(folder: Path, count: int) -> Iterator[Hosts]:
    """So many hosts, all switched on."""
    made = Hosts(folder)
    try:
        for number in range(1, count + 1):
            made.start(number)
        yield made
    finally:
        made.end()
