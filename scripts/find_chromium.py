"""Prints the Chromium that the browser tests use: BAAS_CHROMIUM, then PATH, then (with --install)
Debian's package. Exits with 1 and says NOT RUN where none can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The path of a Chromium, or None. A given path that is absent is not replaced by another."""
    given = os.environ.get("BAAS_CHROMIUM")
    if given:
        return given if os.access(given, os.X_OK) else None
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def install_chromium() -> None:
    """Debian's package, where apt-get may be used. Quiet about failure: the caller looks again."""
    apt = shutil.which("apt-get")
    if apt is None or os.environ.get("BAAS_CHROMIUM"):
        return
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    print("setting up: Chromium from the Debian package", flush=True)
    for command in (
        ["update", "-qq"],
        ["install", "-y", "-qq", "--no-install-recommends", "chromium"],
    ):
        try:
            subprocess.run(
                [*prefix, apt, *command],
                env=environment,
                capture_output=True,
                timeout=900,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"setting up: apt-get failed: {error}", file=sys.stderr)


def main() -> int:
    if find_chromium() is None and "--install" in sys.argv:
        install_chromium()
    found = find_chromium()
    if found is None:
        print(
            "browser tests: NOT RUN: no Chromium; set BAAS_CHROMIUM=/path/to/chromium",
            file=sys.stderr,
        )
        return 1
    print(f"Chromium: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
