"""Where the runs are trained: KDCORE_EXECUTOR = FILE names an engine that exists and its settings.

    engine: local     processes of this machine, the default;  workers: how many
    engine: slurm     a Slurm cluster, by submitit.  folder: of scripts and logs, below KDCORE_STORE
                      where it is not absolute; every other line is a parameter of
                      submitit.AutoExecutor.update_parameters
    engine: dask      address: of a scheduler that runs; or workers: processes started here

Examples are in presets/executors/. Nothing of how runs are scheduled is here: `kdcore.sweep` hands
each engine one job after the other and needs no more than `submit`, `done` and `result`. All
machines see the same folder KDCORE_STORE; every job carries the caller's KDCORE_* settings.
"""

import atexit
import importlib
import os
from functools import lru_cache
from pathlib import Path

import yaml

from kdcore import store
from kdcore.folders import path_of

PACKAGES = {"slurm": "submitit", "dask": "distributed"}
SHORTEST = 15  # minutes: submitit counts a job of ten or less as timed out when Slurm warns it
KEYS = {"local": ("workers",), "dask": ("address", "workers")}


def chosen():
    """The executor that KDCORE_EXECUTOR names, the same for the whole process; None for local
    processes. ValueError in one sentence where the file, its engine or a setting is not usable.
    """
    path = path_of("KDCORE_EXECUTOR")
    return (
        made(path, Path(path).stat().st_mtime_ns if Path(path).is_file() else 0) if path else None
    )


@lru_cache(maxsize=4)
def made(path: str, changed: int):
    """The executor of a file; `changed`, its time, makes the cache notice a new version."""
    engine, settings = described(path)
    if engine == "local":
        if "workers" in settings:
            os.environ.setdefault("KDCORE_WORKERS", str(settings["workers"]))
        return None
    try:
        package = importlib.import_module(PACKAGES[engine])
    except ImportError as error:
        raise ValueError(
            f"KDCORE_EXECUTOR = {path}: engine: {engine} needs the package {PACKAGES[engine]}: "
            f"pip install {PACKAGES[engine]}"
        ) from error
    return (slurm if engine == "slurm" else dask)(path, package, settings)


def described(path: str) -> tuple[str, dict]:
    """(engine, its settings) of a file. ValueError in one sentence."""
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        what = str(error).splitlines()[0]
        raise ValueError(f"KDCORE_EXECUTOR = {path} cannot be read as YAML ({what})") from error
    engines = ("local", *PACKAGES)
    if not isinstance(found, dict) or found.get("engine") not in engines:
        raise ValueError(
            f"KDCORE_EXECUTOR = {path} names no engine: one line is engine: {', '.join(engines)}"
        )
    engine = found.pop("engine")
    unknown = set(found) - set(KEYS.get(engine, found))
    if unknown:
        raise ValueError(
            f"KDCORE_EXECUTOR = {path}: engine: {engine} has no setting {min(map(str, unknown))}; "
            f"it has {', '.join(KEYS[engine])}"
        )
    workers = found.get("workers", 1)
    if type(workers) is not int or not 1 <= workers <= 1000:
        raise ValueError(f"KDCORE_EXECUTOR = {path}: workers: {workers!r}: a number from 1 to 1000")
    return engine, found


def slurm(path: str, submitit, settings: dict):
    """submitit's executor of the cluster that `sbatch` reaches from here."""
    settings = {"timeout_min": 60, "cpus_per_task": 1, "name": "kdcore"} | settings
    folder = store.root().absolute() / settings.pop("folder", "slurm_logs")
    minutes = settings["timeout_min"]
    if type(minutes) is not int or minutes < SHORTEST:
        raise ValueError(
            f"KDCORE_EXECUTOR = {path}: timeout_min: {minutes!r}: minutes for one run, {SHORTEST} "
            "or more"
        )
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
        executor.update_parameters(**settings)
    except (RuntimeError, NameError, TypeError, ValueError, AttributeError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"KDCORE_EXECUTOR = {path}: submitit does not take it ({what})") from error
    return executor


def dask(path: str, distributed, settings: dict):
    """The futures of a dask client; each job runs, also where another has the same arguments."""
    if ("address" in settings) == ("workers" in settings):
        raise ValueError(f"KDCORE_EXECUTOR = {path}: engine: dask has either address or workers")
    try:
        if "address" in settings:
            client = distributed.Client(settings["address"], timeout=20)
        else:
            client = distributed.Client(
                distributed.LocalCluster(
                    n_workers=settings["workers"], threads_per_worker=1, dashboard_address=None
                )
            )
    except (OSError, ValueError) as error:
        raise ValueError(f"KDCORE_EXECUTOR = {path}: no dask scheduler there ({error})") from error
    atexit.register(client.close)
    return client.get_executor(pure=False)
