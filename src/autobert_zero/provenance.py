"""Provenance: the code, command and package versions that made a result."""

import json
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from autobert_zero.urls import hide_passwords

_PACKAGE = "autobert-zero"
_PACKAGES = ("torch", "numpy", "tokenizers", "datasets", "transformers", "accelerate", "optuna")
"""Packages that the figures of a run may depend on."""


@cache
def version() -> str:
    """The version of this package; `unknown` where it runs from files that were never installed."""
    try:
        return metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return "unknown"


@cache
def commit() -> str | None:
    """The git commit of this code, with `-dirty` behind it where files differ from it; None if not known.

    It is known where the package runs from a checkout, and where pip installed it from a repository.
    """
    here = Path(__file__).resolve()
    git = ("git", "-C", str(here.parent))
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        # The package may lie in a repository without being part of it, for example in its .venv.
        subprocess.run([*git, "ls-files", "--error-unmatch", here.name], capture_output=True, check=True)
        done = subprocess.run([*git, *describe], capture_output=True, check=True, text=True)
        return done.stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return _installed_commit()


def versions() -> dict[str, str]:
    """The versions of Python, of this package and of the packages that figures may depend on."""
    installed = {"python": platform.python_version(), _PACKAGE: version()}
    for name in _PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # it belongs to an extra
    return installed


def provenance() -> dict[str, Any]:
    """The provenance of what is made now, as plain data for JSON: time, commit, command and versions.

    Passwords in URLs of the command are left out.
    """
    return {
        "time": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "command": shlex.join(hide_passwords(argument) for argument in sys.argv),
        "platform": platform.platform(),
        "versions": versions(),
    }


def _installed_commit() -> str | None:
    """The commit that pip noted (PEP 610) where it installed the package from a repository."""
    try:
        noted = metadata.distribution(_PACKAGE).read_text("direct_url.json")
        identity = json.loads(noted or "{}").get("vcs_info", {}).get("commit_id")
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return None
    return str(identity) if identity else None
