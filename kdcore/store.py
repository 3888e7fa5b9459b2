"""A content-addressed store of runs, logits and rows, safe between processes and after a crash.

<root>/<kind>/<first two digits>/<key>/ holds arrays.safetensors, meta.json and SHA256SUMS
(`sha256sum -c` reads it too). An entry appears by one rename, so it is whole or absent. It says
what it is: one that is damaged, or lies under another name than its own, is noticed when read,
named, and made again. Nothing in it is ever executed: tensors and JSON, no pickle.

Beside it lies <key>.lock, which stays: it is empty, and were it removed while another machine waits
for it, two would hold "the" lock. When nothing is running, locks may be deleted, and so may any
<key>.tmp, what a killed writer left behind; the next writer of that key clears it too.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock
from platformdirs import user_cache_dir
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from kdcore.folders import path_of
from kdcore.spec import Inputs, Spec

FILES = ("arrays.safetensors", "meta.json")
# What reading a damaged entry raises: something else in a file's place, or a disk that does not
# give it back. Others (no permission, too many open files) say nothing about the entry.
DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO)


class Entry(NamedTuple):
    """What is kept under one key: named arrays, and plain values that JSON can hold."""

    arrays: dict[str, np.ndarray]
    meta: dict


class StoreError(RuntimeError):
    """The store, or a folder of results, cannot be used: disk full, no permission, not a folder."""


def root() -> Path:
    """KDCORE_STORE, or the user's cache folder."""
    return Path(path_of("KDCORE_STORE") or user_cache_dir("kdcore"))


def folder(kind: str, key: str) -> Path:
    """Where an entry of this kind and key lies."""
    return root() / kind / key[:2] / key


def logits_key(model: str, inputs: Inputs) -> str:
    """The key of the logits that the run with the hash `model` gives on these inputs."""
    return hashlib.sha256(f"logits:{model}:{inputs.hash}".encode()).hexdigest()


def checksums(place: Path) -> str:
    """The text of SHA256SUMS for the files as they are."""
    lines = []
    for name in FILES:
        with (place / name).open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines)


def label(kind: str, key: str, arrays) -> dict:
    """What an entry says of itself, in meta.json under "entry"."""
    return {"kind": kind, "key": key, "arrays": sorted(arrays)}


def unsigned(kind: str, entry: Entry) -> dict:
    """The identity of an entry from before entries said it themselves, from its content. ValueError
    or KeyError where that does not tell.
    """
    if kind == "runs":
        key, arrays = Spec(**entry.meta["spec"]).hash, {"loss", "online_accuracy"}
    elif kind == "logits":
        key, arrays = logits_key(entry.meta["model"], Inputs(**entry.meta["inputs"])), {"logits"}
    elif kind == "rows":
        key, arrays = entry.meta["key"], set()
    else:
        raise ValueError("it does not say what it is")
    return label(kind, key, {*entry.arrays, *arrays})


def look(kind: str, key: str) -> tuple[Entry | None, str]:
    """(the entry, ""); (None, "") where there is none; (None, what is wrong) where it is damaged.
    StoreError where it may not be read.
    """
    place = folder(kind, key)
    if not os.path.lexists(place):
        return None, ""
    try:
        listed = (place / "SHA256SUMS").read_text()
        if listed != (found := checksums(place)):
            names = [
                line.split("  ")[-1]
                for line in found.splitlines()
                if line not in listed.splitlines()
            ]
            raise ValueError(f"{' and '.join(names) or 'SHA256SUMS'} does not match its checksum")
        entry = Entry(load_file(place / FILES[0]), json.loads((place / FILES[1]).read_text()))
        told = entry.meta.pop("entry") if "entry" in entry.meta else unsigned(kind, entry)
        if (told["kind"], told["key"]) != (kind, key):
            raise ValueError(f"it is {told['kind']}/{told['key']}")
        if told["arrays"] != sorted(entry.arrays):
            raise ValueError(
                "it lacks or has too many of "
                f"{', '.join(sorted({*told['arrays']} ^ {*entry.arrays}))}"
            )
        return entry, ""
    except OSError as error:
        # safetensors raises it without a number
        if error.errno not in DAMAGE and not isinstance(error, FileNotFoundError):
            raise StoreError(
                f"the run store {root()} cannot be read ({error}): let its owner permit it (chmod "
                "-R g+rX), or set KDCORE_STORE to another "
                "folder"
            ) from error
        # else another process is replacing it right now
        return None, str(error) if os.path.lexists(place) else ""
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        SafetensorError,
    ) as error:
        return None, f"{type(error).__name__} {error}".removeprefix("ValueError ").splitlines()[0]


def get(kind: str, key: str) -> Entry | None:
    """The entry, or None where there is none. A damaged entry is reported by name and counts as
    none; `put` replaces it.
    """
    entry, damage = look(kind, key)
    if damage:
        warnings.warn(
            f"damaged entry {folder(kind, key)}: {damage}; it will be made again", stacklevel=2
        )
    return entry


def remove(path: Path) -> None:
    """Removes what lies there as far as it can be: a file, a folder, a link (not what it points
    to).
    """
    try:
        path.unlink(missing_ok=True)
    except OSError:  # a folder
        shutil.rmtree(path, ignore_errors=True)


def unwritable(place: Path, error: Exception) -> StoreError:
    """What to say where `place` cannot be written."""
    above = next(
        (p for p in reversed(place.parents) if os.path.lexists(p) and not p.is_dir()), None
    )
    hint = f"{above} is not a folder: remove it" if above else "free some space"
    return StoreError(
        f"the run store {root()} cannot be written ({error}): {hint}, or set KDCORE_STORE to "
        "another folder"
    )


def put(kind: str, key: str, arrays: dict[str, np.ndarray], meta: dict) -> None:
    """Writes to a temporary folder, then renames. Only the holder of the entry's lock may call
    this.
    """
    place = folder(kind, key)
    # one name per key: what a killed writer left behind is cleared by the next
    temporary = place.with_suffix(".tmp")
    try:
        remove(temporary)
        temporary.mkdir(parents=True)
        save_file({k: np.asarray(v, order="C") for k, v in arrays.items()}, temporary / FILES[0])
        (temporary / FILES[1]).write_text(
            json.dumps({**meta, "entry": label(kind, key, arrays)}, indent=1, sort_keys=True)
        )
        # safetensors lets nobody else read
        shutil.copymode(temporary / FILES[1], temporary / FILES[0])
        (temporary / "SHA256SUMS").write_text(checksums(temporary))
        remove(place)
        os.rename(temporary, place)
    except (OSError, SafetensorError) as error:
        remove(temporary)
        raise unwritable(place, error) from error


def drop(kind: str, key: str) -> None:
    """Removes an entry, if there is one, and what a killed writer left of one. It is gone at once:
    nobody finds a part of it.
    """
    place = folder(kind, key)
    temporary = place.with_suffix(".tmp")
    remove(temporary)
    with suppress(OSError):
        os.rename(place, temporary)
    remove(place)
    remove(temporary)


def touch(kind: str, key: str) -> None:
    """Notes that an entry was used now: what was used longest ago goes first (kdcore.budget)."""
    with suppress(OSError):  # gone, or of another user
        os.utime(folder(kind, key))


@contextmanager
def locked(kind: str, key: str):
    """One lock per key; the system releases it when its holder dies."""
    path = folder(kind, key).with_suffix(".lock")
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def once(kind: str, key: str, make: Callable[[], tuple[dict, dict]]) -> Entry:
    """The stored entry; where there is none, one process makes it while the others that want it
    wait.
    """
    if (entry := get(kind, key)) is not None:
        return entry
    with locked(kind, key):
        entry, _ = look(kind, key)  # damage was said above
        if entry is None:
            entry = Entry(*make())
            put(kind, key, *entry)
    return entry


def replace(path: Path, content: bytes) -> None:
    """Writes a file as a whole or not at all, also when several processes write it at once or the
    power fails. OSError as from any writing.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
