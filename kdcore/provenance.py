"""What made a number: `stamp()` is kept with every run, with logits and with rows. Imports
nothing slow before it is asked.
"""

import importlib.metadata
import os
import platform
import subprocess
import tomllib
from datetime import date
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# set inside git's hooks
REDIRECTS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
)


def declared_version() -> str | None:
    """The version in the pyproject.toml beside the package; None where there is none, or that of
    another project.
    """
    try:
        project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))[
            "project"
        ]
        return project["version"] if project["name"] == "kdcore" else None
    except (OSError, ValueError, KeyError):
        return None


def version() -> str | None:
    """The version of the package that is running, from its source or from how it was installed;
    None where neither is there.
    """
    installed = (
        d.version
        for d in importlib.metadata.distributions(name="kdcore")
        if Path(d.locate_file(PACKAGE.name)).resolve() == PACKAGE
    )
    return declared_version() or next(installed, None)


@lru_cache(maxsize=8)
def commit(folder: str | Path = PACKAGE.parent) -> str:
    """Twelve digits of the commit checked out in a folder, "-dirty" after them where kdcore differs
    from it, if that folder is the checkout that the running kdcore belongs to; else "unknown
    (kdcore 0.1.0)", or "unknown" where not even a version is known.

    A repository that merely holds the package somewhere, a user's own with an environment in it,
    has a commit that says nothing about this code.
    """
    environment = {k: v for k, v in os.environ.items() if k not in REDIRECTS}

    def git(*words):
        run = subprocess.run(
            ["git", "-C", PACKAGE.parent, *words], capture_output=True, text=True, env=environment
        )
        return run.stdout.strip() if run.returncode == 0 else None

    try:
        if Path(folder).resolve() == PACKAGE.parent and declared_version():
            top = git("rev-parse", "--show-toplevel")
            tracked = git("ls-files", "--error-unmatch", str(PACKAGE / "__init__.py"))
            if (
                top
                and tracked
                and Path(top).resolve() == PACKAGE.parent
                and (found := git("rev-parse", "--verify", "--short=12", "HEAD"))
            ):
                return found + "-dirty" * (git("status", "--porcelain", "--", PACKAGE.name) != "")
    except OSError:  # no git
        pass
    return f"unknown (kdcore {version()})" if version() else "unknown"


@lru_cache(maxsize=1)
def machine() -> dict:
    """The code, versions and hardware of this process."""
    import torch

    info = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":")[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        if info.exists()
        else []
    )
    cpu = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else names[0]
        if names
        else platform.processor()
    )
    return {
        "commit": commit(),
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def stamp() -> dict:
    """When, and by what, a number is being made."""
    return {"date": date.today().isoformat(), **machine()}
