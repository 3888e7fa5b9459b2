"""Rows: a measurement of a spec, as scalars with their provenance.

collect(measurement, specs, **arguments) looks for each row among the committed results, then in the
run store, and trains and measures only what is in neither. Its key names the measurement, its
version, the spec and the arguments.
"""

import hashlib
import json
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from filelock import FileLock

from kdcore import store
from kdcore.folders import path_of
from kdcore.spec import Plain, Spec
from kdcore.sweep import sweep

PUBLISHED = Path(__file__).parents[1] / "book" / "results"  # of the checkout, if this is one
ADDING = 0.2  # seconds in which a row that is being added to a file is whole
NOT_FINITE = ("nan", "inf", "-inf")  # JSON has no such numbers: they are written as texts


# --------------------------------------------------------------------------- what a row is and says


def as_json(value):
    """What JSON can hold of an argument or a measured value: numpy and torch become Python numbers
    and lists, specs and views their fields.
    """
    if isinstance(value, Plain):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def key_of(name: str, version, spec_hash: str, arguments: dict) -> str:
    """SHA-256 of what a row says of itself."""
    return hashlib.sha256(
        json.dumps([name, version, spec_hash, arguments], sort_keys=True).encode()
    ).hexdigest()


def row_key(measurement: Callable, spec: Spec, arguments: dict) -> str:
    """SHA-256 of the measurement's name and version, the spec's hash and the arguments: a row's
    name among results and in the store.
    """
    return key_of(measurement.__name__, measurement.version, spec.hash, as_json(arguments))


def encoded(name: str, values: dict) -> dict:
    """Measured values as a row holds them: a value that is not a number as None, others that are
    not finite as texts.

    TypeError in one sentence where `values` is no dict, or one of them holds anything but numbers,
    texts, truth values, None, and lists of these.
    """

    def one(column, value):
        if isinstance(value, list):
            return [one(column, v) for v in value]
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(
            f"the measurement {name} returned {column!r} as {type(value).__name__}: a row holds "
            "numbers, texts, None and lists of these"
        )

    if not isinstance(values, dict):
        raise TypeError(
            f"the measurement {name} returned {type(values).__name__}: it must return a dict of "
            "named numbers"
        )
    values = {str(k): one(k, as_json(v)) for k, v in values.items()}
    return {k: None if v == "nan" else v for k, v in values.items()}


def decoded(value):
    """The numbers behind what `encoded` wrote."""
    if isinstance(value, list):
        return [decoded(v) for v in value]
    return float(value) if value in NOT_FINITE else value


def line_digest(row: dict) -> str:
    """SHA-256 of a row without its own checksum, as it is written beside it."""
    return hashlib.sha256(
        json.dumps({k: v for k, v in row.items() if k != "sha256"}, sort_keys=True).encode()
    ).hexdigest()


# ----------------------------------------------------------------------------------- committed rows


def committed_folder() -> Path | None:
    """KDCORE_RESULTS, or book/results of the checkout; None where that is empty, or there is no
    checkout. ValueError where it names no folder.
    """
    setting = path_of("KDCORE_RESULTS")
    path = Path(setting) if setting else PUBLISHED
    if setting and not path.is_dir():
        raise ValueError(
            f"KDCORE_RESULTS = {setting} is not a folder: name the one with published "
            "measurements, or leave it empty to use none"
        )
    return path if os.environ.get("KDCORE_RESULTS") != "" and path.is_dir() else None


def parsed(text: bytes, measurement: str) -> tuple[dict | None, str]:
    """(the row that a line holds, ""), or (None, what is wrong with it)."""
    try:
        row = json.loads(text.decode("utf-8"))
        if row["sha256"] != line_digest(row) or not (
            isinstance(row["values"], dict)
            and isinstance(row["provenance"], dict)
            and {"key", "spec"} <= row.keys()
        ):
            return None, "is damaged"
        if "measurement" in row:  # older rows do not say
            own = key_of(row["measurement"], row["version"], row["spec"], row["arguments"])
            if (row["measurement"], row["key"]) != (measurement, own):
                return None, f"is a row of {row['measurement']} under another key"
        return row, ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, "is damaged"


def intact(path: Path) -> Iterator[tuple[bytes, dict]]:
    """The lines of a file of rows, as written and as rows; one that is damaged, or another file's,
    is left out with a warning.
    """
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):  # a row is just being added
        time.sleep(ADDING)
        content = path.read_bytes()
    for number, text in enumerate(content.split(b"\n"), 1):
        if not text.strip():
            continue
        row, wrong = parsed(text, path.stem)
        if wrong:
            warnings.warn(
                f"{path.name}, line {number} {wrong} and left out; the row will be measured again",
                stacklevel=2,
            )
        else:
            yield text, row


class Rows(NamedTuple):
    """What was read of a file of rows: {key: row}, whether every line is a row of its own, and
    which version of the file it was.
    """

    rows: dict[str, dict]
    sound: bool
    version: tuple


_read: dict[Path, Rows] = {}


def version_of(path: Path) -> tuple:
    """By which a change of a file is noticed."""
    at = path.stat()
    return at.st_mtime_ns, at.st_size, at.st_ino


def read_rows(path: Path) -> Rows:
    """A file of rows, read again only when it has changed; no rows where there is none. OSError as
    from any reading.
    """
    if not os.path.lexists(path):
        return Rows({}, True, ())
    now = version_of(path)
    if path not in _read or _read[path].version != now:
        lines = list(intact(path))
        rows = {row["key"]: row for _, row in lines}
        whole = sum(len(text) + 1 for text, _ in lines) == path.stat().st_size
        _read[path] = Rows(rows, whole and len(rows) == len(lines), now)
    return _read[path]


def committed(measurement: Callable) -> dict[str, dict]:
    """{key: row} of a measurement's committed rows, empty where there are none. ValueError where
    the file cannot be read.
    """
    folder = committed_folder()
    path = folder / f"{measurement.__name__}.jsonl" if folder else None
    try:
        return read_rows(path).rows if path else {}
    except OSError as error:
        raise ValueError(
            f"the published measurements {path} cannot be read ({error}): mend that, or set "
            "KDCORE_RESULTS to another folder"
        ) from error


# ---------------------------------------------------------------------------- measuring, publishing


def measured(measurement: Callable, arguments: dict, spec: Spec) -> dict:
    """The row of one spec from the store, measured now where there is none. Runs in a worker."""
    from kdcore.train import train

    key = row_key(measurement, spec, arguments)

    def make():
        begin = time.monotonic()
        values = encoded(measurement.__name__, measurement(spec, **arguments))
        trained = {k: v for k, v in train(spec).meta.items() if k != "spec"}
        seconds = round(trained["seconds"] + time.monotonic() - begin, 1)
        return {}, {
            "key": key,
            "measurement": measurement.__name__,
            "version": measurement.version,
            "arguments": as_json(arguments),
            "spec": spec.hash,
            "values": values,
            "provenance": {**trained, "seconds": seconds},
        }

    return store.once("rows", key, make).meta


class Asked(NamedTuple):
    """A row that `collect` was asked for, in which of its calls, and whether it is published or in
    the store.
    """

    call: int
    key: str
    measurement: Callable
    spec: Spec
    arguments: dict
    there: bool


_asked: list[Asked] | None = None  # while a plan is made


@contextmanager
def planning():
    """Within it `collect` trains, measures and publishes nothing: it notes what it is asked for, in
    the list of `Asked` that this yields, and answers a row that is missing with values that are
    nan, under the names that other rows of the measurement have.
    """
    global _asked
    _asked = []
    try:
        yield _asked
    finally:
        _asked = None


class NotPublished(RuntimeError):
    """A row would have to be trained or measured, and KDCORE_TRAIN = 0 forbids it."""


def table_of(hashes: list[str], rows: list[dict]) -> pd.DataFrame:
    """A line for each row: the measurement's values, `spec` (its hash) and `provenance` (dict)."""
    return pd.DataFrame(
        [
            {
                **{k: decoded(v) for k, v in row["values"].items()},
                "spec": name,
                "provenance": row["provenance"],
            }
            for name, row in zip(hashes, rows)
        ]
    )


def collect(
    measurement: Callable, specs, executor=None, progress: bool = True, **arguments
) -> pd.DataFrame:
    """One row per spec, in the order given: the measurement's scalars, `spec` (hash) and
    `provenance` (dict).

    A measurement that looks at further runs names them in an attribute `needs`, spec -> specs: they
    are trained first, side by side. With KDCORE_PUBLISH set to a folder, the rows are also written
    there, to <measurement>.jsonl; StoreError, before anything is trained, where that cannot be.
    With KDCORE_TRAIN=0 nothing is trained or measured: NotPublished where a row is missing.
    """
    specs = list(specs)
    if path_of("KDCORE_PUBLISH") and _asked is None:
        check_writable(published_file(measurement))
    known, said = committed(measurement), as_json(arguments)
    hashes = [spec.hash for spec in specs]
    keys = [key_of(measurement.__name__, measurement.version, h, said) for h in hashes]
    rows, rest = {}, {}
    for key, spec, name in zip(keys, specs, hashes):
        if key in rows or key in rest:
            continue
        row = known.get(key)
        if row and row["spec"] != name:
            warnings.warn(
                f"{measurement.__name__}.jsonl, the row {key} is of another spec and left out; it "
                "will be measured again",
                stacklevel=2,
            )
            row = None
        if row is None and (entry := store.get("rows", key)) is not None:
            row = entry.meta
        (rest if row is None else rows)[key] = spec if row is None else row
    if _asked is not None:
        call = _asked[-1].call + 1 if _asked else 0
        _asked.extend(
            Asked(call, key, measurement, spec, arguments, key in rows)
            for key, spec in dict(zip(keys, specs)).items()
        )
        others = known or read_rows(PUBLISHED / f"{measurement.__name__}.jsonl").rows
        nothing = dict.fromkeys((n for row in others.values() for n in row["values"]), math.nan)
        rows |= {key: {"values": nothing, "provenance": {}} for key in rest}
        return table_of(hashes, [rows[key] for key in keys])
    if rest and os.environ.get("KDCORE_TRAIN") == "0":
        key, spec = next(iter(rest.items()))
        raise NotPublished(
            f"{len(rest)} of {len(rest) + len(rows)} rows of {measurement.__name__} are neither "
            "published nor in the store, and KDCORE_TRAIN = 0 forbids training: the first is "
            f"{key}, of {spec.model} on {spec.data.name}"
        )
    if rest:
        needs = getattr(measurement, "needs", lambda _: ())
        if needed := [other for spec in rest.values() for other in needs(spec)]:
            sweep(needed, executor, progress=progress)
        looks_at = needed + [value for value in arguments.values() if isinstance(value, Spec)]
        then = partial(measured, measurement, arguments)
        rows |= zip(rest, sweep(rest.values(), executor, then, progress, looks_at))
    if path_of("KDCORE_PUBLISH"):
        publish_rows(measurement, [rows[key] for key in keys])
    return table_of(hashes, [rows[key] for key in keys])


def cannot_publish(folder: Path, error: OSError) -> store.StoreError:
    """What to say where results cannot be written."""
    return store.StoreError(
        f"KDCORE_PUBLISH = {folder} cannot be written ({error}): name a folder that can"
    )


def published_file(measurement: Callable) -> Path:
    """Where the rows of a measurement are published."""
    return Path(path_of("KDCORE_PUBLISH")) / f"{measurement.__name__}.jsonl"


def check_writable(path: Path) -> None:
    """Makes the file's folder where there is none. StoreError in one sentence where the file could
    not be replaced.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(b"?")
        if os.path.lexists(path):
            path.open("rb").close()
    except OSError as error:
        raise cannot_publish(path.parent, error) from error


def stored(measurement: Callable, specs, **arguments) -> pd.DataFrame | None:
    """What `collect` would give, of committed rows alone: nothing is trained or measured. None
    unless every row is there.
    """
    known, said = committed(measurement), as_json(arguments)
    hashes = [spec.hash for spec in specs]
    keys = [key_of(measurement.__name__, measurement.version, h, said) for h in hashes]
    if not all(key in known for key in keys):
        return None
    return table_of(hashes, [known[k] for k in keys])


def publish_rows(measurement: Callable, rows: list[dict]) -> Path:
    """Adds rows to KDCORE_PUBLISH/<measurement>.jsonl, one JSON object a line with its own
    checksum; a row of the same key is replaced.

    Processes take turns, by the file .lock in that folder (it stays there, see kdcore.store). New
    rows are written behind those that are there, which are neither read again nor written; only to
    replace a row, or to leave out a damaged line, the whole file is written anew. A file that would
    not change is not written.
    """
    path = published_file(measurement)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / ".lock"):
            # of a killed process: whoever writes holds the lock
            for leftover in path.parent.glob(f"{path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            cut_off(path)
            there, new = read_rows(path), {}
            for row in rows:
                # the row that was read from this file is not looked at again
                if there.rows.get(row["key"]) is row:
                    continue
                row = {**row, "values": encoded(measurement.__name__, row["values"])}
                row["sha256"] = line_digest(row)
                if there.rows.get(row["key"], {}).get("sha256") != row["sha256"]:
                    new[row["key"]] = row
            if there.sound and not new:
                return path
            if there.sound and new.keys().isdisjoint(there.rows) and may_append(path):
                append(path, new)
            else:
                old = {row["key"]: text + b"\n" for text, row in intact(path)}
                store.replace(path, b"".join((old | as_lines(new)).values()))
    except OSError as error:
        raise cannot_publish(path.parent, error) from error
    return path


def as_lines(rows: dict[str, dict]) -> dict[str, bytes]:
    """{key: the row as a line of the file}."""
    return {
        key: json.dumps(row, sort_keys=True, allow_nan=False).encode() + b"\n"
        for key, row in rows.items()
    }


def may_append(path: Path) -> bool:
    """A file of another user is replaced."""
    return not os.path.lexists(path) or os.access(path, os.W_OK)


def cut_off(path: Path) -> None:
    """Takes away the beginning of a row that a killed publisher has left at the end of a file."""
    if not os.path.lexists(path) or not (size := path.stat().st_size):
        return
    with path.open("rb") as file:
        file.seek(size - 1)
        if file.read() == b"\n":
            return
        file.seek(0)
        last = file.read().rpartition(b"\n")[2]
    if parsed(last, path.stem)[1] and may_append(path):
        os.truncate(path, size - len(last))


def append(path: Path, rows: dict[str, dict]) -> None:
    """Writes rows behind those of a sound file, all of them or none. Only the holder of the
    folder's lock may call this.
    """
    before = read_rows(path).rows
    content = b"".join(as_lines(rows).values())
    with path.open("ab", buffering=0) as file:
        begin = file.tell()
        try:
            while content:
                content = content[file.write(content) :]
            os.fsync(file.fileno())
        except BaseException:
            os.truncate(path, begin)
            raise
    before.update(rows)
    _read[path] = Rows(before, True, version_of(path))
