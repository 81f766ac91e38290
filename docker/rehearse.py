#!/usr/bin/env python3
"""Runs the Dockerfile's own steps in an empty Debian root, then a rehearsed job in it: all that goes without Docker.

Needs root and debootstrap. Not the same as the image: Debian in place of the CUDA base, no layers, no
GPU. BIND names files and folders of this machine, by spaces, that its package managers' settings point at.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
DEBIAN = "trixie"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile and the rest of its line, continuations joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest


class Root:
    """A file system to build in, entered by chroot."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.user, self.at = folder, "root", "/"
        self.env = {
            name: value for name, value in os.environ.items()
            if name.startswith(("PIP_", "UV_", "SSL_", "REQUESTS_"))
        } | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}  # fmt: skip
        self.command: list[str] = []

    def bind(self, stack: ExitStack, source: Path) -> None:
        if not source.exists():
            return
        target = self.folder / str(source).lstrip("/")
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        subprocess.run(["mount", "--rbind", str(source), str(target)], check=True)
        subprocess.run(["mount", "--make-rslave", str(target)], check=True)
        stack.callback(subprocess.run, ["umount", "--recursive", "--lazy", str(target)], check=True)

    def run(self, words: list[str], *, check: bool = True) -> int:
        """As the image's user, in its work folder, with its environment and nothing else."""
        env = [f"{name}={value}" for name, value in self.env.items()]
        home = "HOME=/root" if self.user == "root" else "HOME=/home/ubuntu"
        line = f"cd {shlex.quote(self.at)} && exec {shlex.join(['env', '-i', home, *env, *words])}"
        enter = ["chroot", f"--userspec={self.user}", str(self.folder), "/bin/bash", "-c", line]
        return subprocess.run(enter, check=check).returncode

    def build(self, name: str, rest: str) -> None:
        if name == "RUN":
            self.run(["/bin/bash", "-o", "pipefail", "-c", rest])
        elif name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                self.copy(source, Path(self.at, target), into=target.endswith("/"))
        elif name == "WORKDIR":
            self.at = rest
            (self.folder / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif name == "ENV":
            for word in shlex.split(rest):
                key, _, value = word.partition("=")
                self.env[key] = value.replace("$PATH", self.env["PATH"])
        elif name == "USER":
            self.user = rest
        elif name in ("ENTRYPOINT", "CMD"):
            self.command += json.loads(rest)

    def copy(self, source: str, target: Path, *, into: bool) -> None:
        """As COPY: only what .dockerignore lets through; a folder's contents, or files into a folder."""
        found, there = CHECKOUT / source, self.folder / str(target).lstrip("/")
        if not allowed(source.rstrip("/")):
            sys.exit(f"COPY {source}: .dockerignore keeps it out")
        if found.is_dir():
            shutil.copytree(found, there, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
        else:
            there = there / found.name if into else there
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, there)


def allowed(path: str) -> bool:
    passed = True
    for line in (CHECKOUT / ".dockerignore").read_text().split():
        pattern = line.removeprefix("!")
        if fnmatch.fnmatch(path, pattern):
            passed = line.startswith("!")
    return passed


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="callsheet-image-"))
    folder.chmod(0o755)
    root = Root(folder)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        began = time.monotonic()
        packages = "--include=ca-certificates"
        subprocess.run(["debootstrap", "--variant=minbase", packages, DEBIAN, str(folder)],
                       check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        print(f"empty root: {time.monotonic() - began:.0f} s", flush=True)
        for path in ("/proc", "/dev", *os.environ.get("BIND", "").split()):
            root.bind(stack, Path(path))
        shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
        root.run(["useradd", "--create-home", "--shell", "/bin/bash", "ubuntu"])
        for name, rest in instructions((CHECKOUT / "docker/Dockerfile").read_text()):
            began = time.monotonic()
            root.build(name, rest)
            print(f"{name} {rest[:70]}: {time.monotonic() - began:.0f} s", flush=True)
        root.run(["du", "-shc", "/opt/callsheet", "/usr"])
        job = {"input": {"workflow": "wan-t2v@1", "params": {
            "prompt": "a red kite over green hills", "num_frames": 17, "width": 128, "height": 96}}}  # fmt: skip
        root.env |= {"CALLSHEET_REHEARSE": "1", "CALLSHEET_CPU": "1", "CALLSHEET_TO": "/tmp/out"}
        sys.exit(root.run([*root.command, "--test_input", json.dumps(job)], check=False))


if __name__ == "__main__":
    main()
