"""A content-addressed store of runs, logits and rows, safe between processes and after a crash.

<root>/<kind>/<first two digits>/<key>/ holds arrays.safetensors, meta.json and SHA256SUMS (`sha256sum -c` reads it too).
An entry appears by one rename, so it is whole or absent. A damaged one is noticed when read, named, and made again.
Nothing in it is ever executed: tensors and JSON, no pickle.
"""

import hashlib
import json
import os
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
from filelock import FileLock
from platformdirs import user_cache_dir
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

FILES = ("arrays.safetensors", "meta.json")


class Entry(NamedTuple):
    """What is kept under one key: named arrays, and plain values that JSON can hold."""

    arrays: dict[str, np.ndarray]
    meta: dict


class StoreError(RuntimeError):
    """The store cannot be written: disk full, no permission, not a folder."""


def root() -> Path:
    """KDCORE_STORE, or the user's cache folder."""
    return Path(os.environ.get("KDCORE_STORE") or user_cache_dir("kdcore"))


def folder(kind: str, key: str) -> Path:
    """Where an entry of this kind and key lies."""
    return root() / kind / key[:2] / key


def checksums(place: Path) -> str:
    """The text of SHA256SUMS for the files as they are."""
    lines = []
    for name in FILES:
        with (place / name).open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines)


def get(kind: str, key: str) -> Entry | None:
    """The entry, or None where there is none. A damaged entry is reported by name and counts as none; `put` replaces it."""
    place = folder(kind, key)
    if not place.is_dir():
        return None
    try:
        listed = (place / "SHA256SUMS").read_text()
        if listed != checksums(place):
            names = [line.split("  ")[-1] for line in checksums(place).splitlines() if line not in listed.splitlines()]
            raise ValueError(f"{' and '.join(names) or 'SHA256SUMS'} does not match its checksum")
        return Entry(load_file(place / "arrays.safetensors"), json.loads((place / "meta.json").read_text()))
    except (FileNotFoundError, ValueError, SafetensorError) as error:
        if place.is_dir():  # else another process is replacing it right now
            warnings.warn(f"damaged entry {place}: {error}; it will be made again", stacklevel=2)
        return None


def put(kind: str, key: str, arrays: dict[str, np.ndarray], meta: dict) -> None:
    """Writes to a temporary folder, then renames. Only the holder of the entry's lock may call this."""
    place = folder(kind, key)
    temporary = place.with_suffix(".tmp")  # one name per key: what a killed writer left behind is cleared by the next
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file({k: np.asarray(v, order="C") for k, v in arrays.items()}, temporary / FILES[0])
        (temporary / FILES[1]).write_text(json.dumps(meta, indent=1, sort_keys=True))
        (temporary / "SHA256SUMS").write_text(checksums(temporary))
        shutil.rmtree(place, ignore_errors=True)
        os.rename(temporary, place)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StoreError(f"the run store {root()} cannot be written ({error}): free some space, or set KDCORE_STORE to another folder") from error


def drop(kind: str, key: str) -> None:
    """Removes an entry, if there is one."""
    shutil.rmtree(folder(kind, key), ignore_errors=True)


@contextmanager
def locked(kind: str, key: str):
    """One lock per key; the system releases it when its holder dies."""
    path = folder(kind, key).with_suffix(".lock")
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise StoreError(f"the run store {root()} cannot be written ({error}): set KDCORE_STORE to another folder") from error
    try:
        yield
    finally:
        lock.release()


def once(kind: str, key: str, make: Callable[[], tuple[dict, dict]]) -> Entry:
    """The stored entry; where there is none, one process makes it while the others that want it wait."""
    if (entry := get(kind, key)) is not None:
        return entry
    with locked(kind, key):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said above
            entry = get(kind, key)
        if entry is None:
            entry = Entry(*make())
            put(kind, key, *entry)
    return entry
