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
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
from filelock import FileLock

from kdcore import store
from kdcore.folders import path_of
from kdcore.spec import Plain, Spec
from kdcore.sweep import sweep

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
    path = Path(setting) if setting else Path(__file__).parents[1] / "book" / "results"
    if setting and not path.is_dir():
        raise ValueError(
            f"KDCORE_RESULTS = {setting} is not a folder: name the one with published "
            "measurements, or leave it empty to use none"
        )
    return path if os.environ.get("KDCORE_RESULTS") != "" and path.is_dir() else None


def intact(path: Path) -> Iterator[tuple[bytes, dict]]:
    """The lines of a file of rows, as written and as rows; one that is damaged, or another file's,
    is left out with a warning.
    """
    for number, text in enumerate(path.read_bytes().split(b"\n"), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text.decode("utf-8"))
            wrong = "" if row["sha256"] == line_digest(row) else "is damaged"
            if not (
                isinstance(row["values"], dict)
                and isinstance(row["provenance"], dict)
                and {"key", "spec"} <= row.keys()
            ):
                wrong = "is damaged"
            elif not wrong and "measurement" in row:  # older rows do not say
                own = key_of(row["measurement"], row["version"], row["spec"], row["arguments"])
                wrong = (
                    ""
                    if (row["measurement"], row["key"]) == (path.stem, own)
                    else f"is a row of {row['measurement']} under another key"
                )
        except (ValueError, KeyError, TypeError, RecursionError):
            wrong = "is damaged"
        if wrong:
            warnings.warn(
                f"{path.name}, line {number} {wrong} and left out; the row will be measured again",
                stacklevel=2,
            )
        else:
            yield text, row


@lru_cache(maxsize=8)
def read_committed(path: Path, changed: tuple) -> dict[str, dict]:
    """{key: row} of a file of rows. `changed`, its time, size and number, makes the cache notice a
    new version.
    """
    return {row["key"]: row for _, row in intact(path)}


def committed(measurement: Callable) -> dict[str, dict]:
    """{key: row} of a measurement's committed rows, empty where there are none. ValueError where
    the file cannot be read.
    """
    folder = committed_folder()
    path = folder / f"{measurement.__name__}.jsonl" if folder else None
    try:
        if path is None or not os.path.lexists(path):
            return {}
        at = path.stat()
        return read_committed(path, (at.st_mtime_ns, at.st_size, at.st_ino))
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


class NotPublished(RuntimeError):
    """A row would have to be trained or measured, and KDCORE_TRAIN = 0 forbids it."""


def table_of(specs: list[Spec], rows: list[dict]) -> pd.DataFrame:
    """A row for each spec: the measurement's values, `spec` (hash) and `provenance` (dict)."""
    return pd.DataFrame(
        [
            {
                **{k: decoded(v) for k, v in row["values"].items()},
                "spec": s.hash,
                "provenance": row["provenance"],
            }
            for s, row in zip(specs, rows)
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
    if path_of("KDCORE_PUBLISH"):
        check_writable(published_file(measurement))
    known = committed(measurement)
    keys = {s: row_key(measurement, s, arguments) for s in specs}
    rows = {s: known[keys[s]] for s in specs if keys[s] in known}
    for spec in [s for s, row in rows.items() if row["spec"] != s.hash]:
        warnings.warn(
            f"{measurement.__name__}.jsonl, the row {keys[spec]} is of another spec and left out; "
            "it will be measured again",
            stacklevel=2,
        )
        del rows[spec]
    rest = list(dict.fromkeys(s for s in specs if s not in rows))
    for spec in list(rest):
        if (entry := store.get("rows", keys[spec])) is not None:
            rows[spec] = entry.meta
            rest.remove(spec)
    if rest and os.environ.get("KDCORE_TRAIN") == "0":
        raise NotPublished(
            f"{len(rest)} of {len(keys)} rows of {measurement.__name__} are neither published nor "
            "in the store, and KDCORE_TRAIN = 0 forbids "
            f"training: the first is {keys[rest[0]]}, of {rest[0].model} on {rest[0].data.name}"
        )
    if rest:
        if needed := [
            other for spec in rest for other in getattr(measurement, "needs", lambda _: ())(spec)
        ]:
            sweep(needed, executor, progress=progress)
        rows |= zip(
            rest, sweep(rest, executor, partial(measured, measurement, arguments), progress)
        )
    if path_of("KDCORE_PUBLISH"):
        publish_rows(measurement, [rows[s] for s in specs])
    return table_of(specs, [rows[s] for s in specs])


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
    specs, known = list(specs), committed(measurement)
    keys = [row_key(measurement, s, arguments) for s in specs]
    if not all(key in known for key in keys):
        return None
    return table_of(specs, [known[k] for k in keys])


def publish_rows(measurement: Callable, rows: list[dict]) -> Path:
    """Adds rows to KDCORE_PUBLISH/<measurement>.jsonl, one JSON object a line with its own
    checksum; a row of the same key is replaced.

    Processes take turns, by the file .lock in that folder (it stays there, see kdcore.store). A
    file that would not change is not written.
    """
    path, lines = published_file(measurement), {}
    for row in rows:
        row = {**row, "values": encoded(measurement.__name__, row["values"])}
        lines[row["key"]] = json.dumps(
            {**row, "sha256": line_digest(row)}, sort_keys=True, allow_nan=False
        ).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / ".lock"):
            # of a killed process: whoever writes holds the lock
            for leftover in path.parent.glob(f"{path.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
            before = path.read_bytes() if os.path.lexists(path) else b""
            old = {row["key"]: text for text, row in intact(path)} if before else {}
            content = b"".join(text + b"\n" for text in (old | lines).values())
            if content != before:
                store.replace(path, content)
    except OSError as error:
        raise cannot_publish(path.parent, error) from error
    return path
