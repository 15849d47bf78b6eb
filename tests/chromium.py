"""Find a Chromium for the browser tests, or install one the way this machine allows.

Run as a script it makes sure there is one: the system's if present, Debian's package where this
user may install it, Playwright's own download otherwise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """Return the path of a usable Chromium, None if there is none."""
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        found = shutil.which(name) if name else None
        if found:
            return found
    return _playwright_chromium()


def _playwright_chromium() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if path and Path(path).exists() else None


def ensure_chromium() -> str:
    """Return a Chromium, installing one if need be; exit with one sentence when that fails."""
    found = find_chromium()
    if found:
        return found
    if shutil.which("apt-get") and os.geteuid() == 0:
        commands = [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]]
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in commands:
            subprocess.run(command, check=False, env=quiet, stdout=subprocess.DEVNULL)
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    found = find_chromium()
    if not found:
        sys.exit("No Chromium for the browser tests: install one, or set CHROMIUM to its path.")
    return found


if __name__ == "__main__":
    sys.stdout.write(f"Chromium: {ensure_chromium()}\n")
