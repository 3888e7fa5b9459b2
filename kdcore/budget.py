"""The logit store within its budget, KDCORE_LOGITS_GB.

Recorded logits are the one kind of entry that grows with every new view, and any of them can be
recorded again from its network. Where they take more than the budget, those go first that were used
longest ago. None goes that a running sweep needs, of whatever process or machine: none of a run
that it names in <root>/sweeps, and none that was used since it began. So the store may be larger
than the budget as long as a sweep needs that much.

<root>/sweeps/<name>.runs lists the hashes of a sweep's runs and of what else it looks at;
<name>.lock beside it is held as long as the sweep runs, and the system releases it when its process
dies, however that happens.
"""

import json
import math
import os
import time
import uuid
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from kdcore import store

GB = 1e9
USUAL = 50.0  # GB, where nothing is said
EVERY = 60.0  # seconds between two looks at the store while a sweep runs


def budget() -> float:
    """Bytes that recorded logits may take: KDCORE_LOGITS_GB, or the usual. ValueError in one
    sentence where that is no number.
    """
    given = os.environ.get("KDCORE_LOGITS_GB", "").strip()
    try:
        gigabytes = float(given) if given else USUAL
    except ValueError:
        gigabytes = math.nan
    if not gigabytes >= 0:
        raise ValueError(
            f"KDCORE_LOGITS_GB = {given!r}: must be a number of gigabytes, 0 or more, or not set: "
            f"{USUAL:g}."
        )
    return GB * gigabytes


def blocks() -> list[tuple[float, int, Path]]:
    """(when it was used last, bytes, folder) of every block of logits, the oldest first."""
    found = []
    for place in (store.root() / "logits").glob("??/*"):
        with suppress(OSError):  # another process takes it away right now
            if not place.suffix:
                size = (place / store.FILES[0]).stat().st_size
                found.append((place.stat().st_mtime, size, place))
    return sorted(found)


def needed() -> tuple[set[str], float]:
    """(hashes of all that running sweeps name, the time at which the first of them began: inf where
    none runs).
    """
    names, since = set(), math.inf
    for file in (store.root() / "sweeps").glob("*.runs"):
        try:
            with FileLock(file.with_suffix(".lock"), timeout=0):
                file.unlink(missing_ok=True)  # its process is gone
            file.with_suffix(".lock").unlink(missing_ok=True)
        except (Timeout, OSError):
            with suppress(OSError):
                names |= set(file.read_text().split())
                since = min(since, file.stat().st_mtime)
    return names, since


def model_of(place: Path) -> str | None:
    """The hash of the run whose logits lie there; None where they do not say."""
    try:
        return json.loads((place / store.FILES[1]).read_text())["model"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep() -> int:
    """Takes blocks away until the rest is within the budget, or needed; how many."""
    limit, found, gone = budget(), blocks(), 0
    total = sum(size for _, size, _ in found)
    if total <= limit:
        return 0
    names, since = needed()
    for used, size, place in found:
        if total <= limit or used >= since:
            break
        if model_of(place) in names:
            continue
        with suppress(Timeout, OSError):  # it is being made, or belongs to somebody else
            with FileLock(place.with_suffix(".lock"), timeout=0):
                store.drop("logits", place.name)
            if not place.exists():
                total, gone = total - size, gone + 1
    return gone


@contextmanager
def needing(names: Iterable[str]):
    """For as long as a sweep runs that needs the logits of the runs with these hashes. Yields a
    function to be called now and then, which keeps the store within its budget.
    """
    mine = store.root() / "sweeps" / f"{uuid.uuid4().hex}.runs"
    lock, looked = FileLock(mine.with_suffix(".lock")), -math.inf

    def now_and_then() -> None:
        nonlocal looked
        if time.monotonic() - looked > EVERY:
            keep()
            looked = time.monotonic()

    try:
        mine.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        mine.write_text("\n".join(names))
    except OSError as error:
        lock.release()
        raise store.unwritable(mine, error) from error
    try:
        now_and_then()
        yield now_and_then
    finally:
        for path in (mine, mine.with_suffix(".lock")):
            with suppress(OSError):
                path.unlink()
        lock.release()
    keep()  # not after an interrupt: the sweep that goes on there needs them
