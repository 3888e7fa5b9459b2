"""Faults on purpose, counted. `KILLS=1000 FLIPS=2000 PARAMETERS=3000 PUBLICATIONS=60 make faults`
prints one table and ends with 1 if anything is wrong. `python tests/faults.py TABLE.csv [kind ...]`
writes the table for some of the kinds only; what was accepted among bad parameters is written
beside it, to TABLE.accepted.csv, and the command that made it to TABLE.sh.

Most processes are forked from this one, which has imported everything and computed nothing, so that
a kill costs no start of Python. Every REAL-th time the caller is a new Python with the fork server
that a reader has.
"""

import csv
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import psutil
import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]

from small import STRONG, spec  # noqa: E402

from kdcore import data, results, store, sweep  # noqa: E402
from kdcore import train as tr  # noqa: E402
from kdcore.book import chapter  # noqa: E402

REAL = 40
PATIENCE = 20.0  # seconds within which what was killed has to be gone
TINY = dict(epochs=2, n_train=32, model="cnn-4")
# 9 students of 6 teachers
SPECS = [
    spec(
        **TINY,
        teachers=(spec(seed=101 + i, **TINY), spec(seed=102 + i, view=STRONG, **TINY)),
        temperature=t,
    )
    for i in (0, 2, 4)
    for t in (1.0, 2.0, 4.0)
]


def accuracy(spec_):
    return {"accuracy": float(tr.train(spec_).online_accuracy[-1])}


accuracy.version = 1


def note_what_is_stored():
    """In a caller that is to be killed, and its workers: every entry that has appeared in the store
    is written down.
    """
    put = store.put

    def noted(kind, key, *entry, **options):
        put(kind, key, *entry, **options)
        with open(os.environ["FAULTS_LOG"], "a") as file:
            file.write(f"{kind} {key}\n")

    store.put = noted


if "FAULTS_LOG" in os.environ:
    note_what_is_stored()


# ---------------------------------------------------------------------------------------- processes


@contextmanager
def environment(**settings):
    """KDCORE_* and other settings for a while."""
    before = dict(os.environ)
    os.environ.update({k: str(v) for k, v in settings.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def forked(function, *arguments, says=os.devnull) -> int:
    """The id of a process, head of its own group, that runs the function and ends with 0, or with 1
    and its stack written to `says`.
    """
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.setsid()
        with open(says, "a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                function(*arguments)
                code = 0
            except BaseException:
                traceback.print_exc(file=file)
    finally:
        os._exit(code)


def ended(pid: int, seconds: float) -> int | None:
    """The exit status of a child, None if it has not ended within so many seconds."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.005)


def members(group: int) -> list[int]:
    """Processes of a group that are alive; a zombie is not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return []
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def outlived(group: int) -> int:
    """How many processes of a group are alive PATIENCE seconds after its head has ended; they are
    ended then.
    """
    end = time.monotonic() + PATIENCE
    while (left := members(group)) and time.monotonic() < end:
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        if left:
            os.killpg(group, signal.SIGKILL)
    return len(left)


# -------------------------------------------------------------------------------------------- kills


def call():
    """What a caller does that is to be killed: 15 runs, and a measurement of nine of them."""
    results.collect(accuracy, SPECS, progress=False)


def forked_call():
    """The same with forked workers, which have everything imported."""
    fork = multiprocessing.get_context("fork")
    sweep.multiprocessing.get_context = lambda method: fork
    note_what_is_stored()
    call()


def real_call():
    """The same by a new Python, whose workers come from a fork server."""
    os.execv(sys.executable, [sys.executable, __file__, "caller"])


def held(root: Path) -> dict[str, bytes]:
    """The arrays of the runs, and the values of the rows, without their dates and seconds."""
    runs = {p.parent.name: p.read_bytes() for p in (root / "runs").rglob("arrays.safetensors")}
    rows = {
        p.parent.name: json.dumps(json.loads(p.read_text())["values"]).encode()
        for p in (root / "rows").rglob("meta.json")
    }
    return runs | rows


def strike(pid: int, whom: str, how: str, moments: random.Random) -> None:
    """Sends the signals to the caller, to one of its workers, or to all."""
    with suppress(psutil.Error):
        below = [p.pid for p in psutil.Process(pid).children(recursive=True)]
        targets = {
            "caller": [pid],
            "worker": [moments.choice(below)] if below else [],
            "both": [pid, *below],
        }[whom]
        signals = {
            "KILL": ["SIGKILL"],
            "TERM": ["SIGTERM"],
            "INT twice": ["SIGINT", "SIGINT"],
            "STOP, CONT": ["SIGSTOP", "SIGCONT"],
        }[how]
        for name in signals:
            for target in targets:
                with suppress(ProcessLookupError):
                    os.kill(target, getattr(signal, name))
            time.sleep(0.05)


def kills(folder: Path, count: int) -> list[tuple]:
    """A sweep of 15 runs in a store of its own is killed some times and then left to end; its store
    must be that of an undisturbed one.
    """
    wrong = Counter(
        dict.fromkeys(
            [
                "runs or rows lost",
                "with other bits",
                "stored twice",
                "processes left over",
                "temporary files left over",
                "callers that did not end",
                "sweeps that could not be finished",
            ],
            0,
        )
    )
    moments = random.Random(count)
    log, says = folder / "log", folder / "says"

    def begin(store_, real):
        with environment(FAULTS_LOG=log, KDCORE_STORE=store_, KDCORE_RESULTS="", KDCORE_WORKERS=2):
            return forked(real_call if real else forked_call, says=says)

    start = time.monotonic()
    if ended(begin(folder / "undisturbed", False), 600) != 0:
        raise SystemExit(f"the undisturbed sweep failed:\n{says.read_text()}")
    whole, right = time.monotonic() - start, held(folder / "undisturbed")
    tried = 0
    while tried < count:
        place, pid = folder / "killed", None
        shutil.rmtree(place, ignore_errors=True)
        log.write_text("")
        says.write_text("")
        for _ in range(min(moments.randint(4, 12), count - tried)):
            if pid is None:
                real = tried % REAL == REAL - 1
                pid = begin(place, real)
            status = ended(pid, moments.uniform(0, whole * (6 if real else 1)))
            if status is None:
                whom = moments.choice(["caller", "worker", "both"])
                how = moments.choice(["KILL", "TERM", "INT twice", "STOP, CONT"])
                tried += 1
                strike(pid, whom, how, moments)
                status = ended(pid, PATIENCE if whom != "worker" and how != "STOP, CONT" else 0)
                if status is None:
                    if whom != "worker" and how != "STOP, CONT":
                        wrong["callers that did not end"] += 1
                        os.killpg(pid, signal.SIGKILL)
                        ended(pid, PATIENCE)
                    else:
                        continue
            wrong["processes left over"] += outlived(pid)
            pid = None
            if status == 0:
                break
        # one that has lost the same run's worker twice says so, and is called again
        for _ in range(3):
            status = ended(pid or begin(place, False), 600)
            wrong["processes left over"] += outlived(pid) if pid else 0
            pid = None
            if status == 0:
                break
        else:
            wrong["sweeps that could not be finished"] += 1
            sys.stderr.write(says.read_text()[-3000:])
        found = held(place)
        wrong["runs or rows lost"] += len(right.keys() - found.keys())
        wrong["with other bits"] += sum(found[k] != right.get(k) for k in found)
        entries = Counter(
            line for line in log.read_text().splitlines() if not line.startswith("unfinished")
        )
        wrong["stored twice"] += sum(n - 1 for n in entries.values())
        wrong["temporary files left over"] += sum("tmp" in p.name for p in place.rglob("*")) + len(
            [*(place / "working").glob("*")]
        )
    return [
        ("kills of a sweep of 15 runs: caller, worker, both", tried, what, n, True)
        for what, n in wrong.items()
    ]


def row(number: int) -> dict:
    return {
        "key": f"{number:064x}",
        "spec": f"{number:064x}",
        "values": {"accuracy": number / 7},
        "provenance": {"date": "2026-01-01", "seconds": 1.0},
    }


def publishes(numbers, log: Path | None = None):
    """Publishes these rows, four at a time; writes down which are."""
    for i in range(0, len(numbers), 4):
        results.publish_rows(accuracy, [row(n) for n in numbers[i : i + 4]])
        if log:
            with log.open("a") as file:
                file.write("".join(f"{n}\n" for n in numbers[i : i + 4]))


def published(folder: Path) -> tuple[dict[str, dict], int]:
    """The rows of a folder without their checksums, and how many lines are damaged."""
    with environment(KDCORE_RESULTS=folder), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        results._read.clear()
        return {
            k: {n: v for n, v in r.items() if n != "sha256"}
            for k, r in results.committed(accuracy).items()
        }, len(said)


def publication_kills(folder: Path, count: int) -> list[tuple]:
    """A process that publishes row after row is killed; what it had published must be there."""
    moments = random.Random(count)
    wrong = Counter(dict.fromkeys(["rows lost", "lines damaged", "temporary files left over"], 0))
    for trial in range(count):
        place, log = folder / f"{trial % 20}", folder / f"{trial % 20}.log"
        first = 1000 * trial
        with environment(KDCORE_PUBLISH=place):
            pid = forked(publishes, range(first, first + 400), log)
            if ended(pid, moments.uniform(0.01, 0.1)) is None:
                os.kill(pid, moments.choice([signal.SIGKILL, signal.SIGTERM]))
                ended(pid, PATIENCE)
            publishes([first + 999])  # the next publication clears up
        rows, damaged = published(place)
        done = [int(n) for n in log.read_text().split()] if log.exists() else []
        wrong["rows lost"] += sum(rows.get(row(n)["key"]) != row(n) for n in [*done, first + 999])
        wrong["lines damaged"] += damaged
        wrong["temporary files left over"] += sum("tmp" in p.name for p in place.iterdir())
        if trial % 20 == 19:
            for old in folder.iterdir():
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    return [("kills of a publication", count, what, n, True) for what, n in wrong.items()]


# -------------------------------------------------------------------------------------------- flips


def flipped(content: bytes, moments: random.Random) -> bytes:
    bit = moments.randrange(8 * len(content))
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


def every_kind_of_entry():
    """Fills the store with runs, logits, rows, and snapshots of unfinished runs."""
    tr.SAVE_EVERY, tr.store.drop = 0.0, lambda kind, key: None
    results.collect(accuracy, SPECS[:2], executor=Inline(), progress=False)


class Inline:
    """An executor that works at once, in this process."""

    def submit(self, function, *arguments):
        from concurrent.futures import Future

        future = Future()
        future.set_result(function(*arguments))
        return future


def flips_in_the_store(folder: Path, count: int) -> list[tuple]:
    """One bit of one of an entry's three files: reading must notice it and name the entry, and
    making it again must give the same three files.
    """
    moments, tried = random.Random(count), Counter()
    wrong = Counter(
        dict.fromkeys(["not noticed", "not named", "not healed", "other exceptions"], 0)
    )
    with environment(KDCORE_STORE=folder / "store", KDCORE_RESULTS=""):
        if ended(forked(every_kind_of_entry, says=folder / "says"), 600) != 0:
            raise SystemExit(f"the store could not be filled:\n{(folder / 'says').read_text()}")
        places = {
            kind.name: [p.parent for p in sorted(kind.rglob("meta.json"))]
            for kind in sorted((folder / "store").iterdir())
            if kind.name != "working"
        }
        whole = {
            place: store.get(kind, place.name)
            for kind, of_kind in places.items()
            for place in of_kind
        }
        for _ in range(count):
            kind = moments.choice([k for k in places if places[k]])
            place = moments.choice(places[kind])
            before = {p.name: p.read_bytes() for p in place.iterdir()}
            name = moments.choice(sorted(before))
            tried[f"{kind} {name}"] += 1
            (place / name).write_bytes(flipped(before[name], moments))
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                try:
                    wrong["not noticed"] += store.get(kind, place.name) is not None
                    wrong["not named"] += not any(place.name in str(w.message) for w in said)
                    store.once(kind, place.name, lambda place=place: tuple(whole[place]))
                except Exception:
                    wrong["other exceptions"] += 1
                    traceback.print_exc()
            if {p.name: p.read_bytes() for p in place.iterdir()} != before:
                wrong["not healed"] += 1
                shutil.rmtree(place)
                place.mkdir()
                for file, content in before.items():
                    (place / file).write_bytes(content)
    kinds = ", ".join(sorted({t.split()[0] for t in tried}))
    return [
        (f"flipped bits in the store ({kinds})", count, what, n, True) for what, n in wrong.items()
    ]


def flips_in_rows(folder: Path, count: int) -> list[tuple]:
    """One bit of a copy of the published rows: left out with a warning that names file and line,
    and every other row as it was.
    """
    moments, harmless = random.Random(count), 0
    wrong = Counter(
        dict.fromkeys(
            [
                "not noticed",
                "file or line not named",
                "other rows lost or changed",
                "other exceptions",
            ],
            0,
        )
    )
    copies = {}
    for path in sorted((ROOT / "book" / "results").glob("*.jsonl")):
        with path.open() as file:
            copies[path.name] = "".join(line for line, _ in zip(file, range(4))).encode()
    for number in range(count):
        name = moments.choice(sorted(copies))
        path = folder / name
        path.write_bytes(copies[name])
        os.utime(path, (2 * number, 2 * number))  # a time of its own, by which a change is noticed
        named = type("Named", (), {"__name__": path.stem})()
        with environment(KDCORE_RESULTS=folder):
            before = results.committed(named)
            path.write_bytes(flipped(copies[name], moments))
            os.utime(path, (2 * number + 1, 2 * number + 1))
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                try:
                    after = results.committed(named)
                except Exception:
                    wrong["other exceptions"] += 1
                    if wrong["other exceptions"] == 1:
                        traceback.print_exc()
                    continue
            if after == before:  # 1e-05 as 1E-05 is the same row
                harmless += 1
                continue
            wrong["not noticed"] += not said
            wrong["file or line not named"] += any(
                name not in str(w.message) or "line" not in str(w.message) for w in said
            )
            wrong["other rows lost or changed"] += max(0, len(before) - len(after) - 2) + sum(
                before.get(k) != v for k, v in after.items()
            )
    rows = [("flipped bits in published rows", count, what, n, True) for what, n in wrong.items()]
    return [*rows, ("flipped bits in published rows", count, "row unchanged", harmless, False)]


# --------------------------------------------------------------------------------------- parameters

BAD = [
    None,
    True,
    False,
    "",
    " ",
    "soup",
    "10",
    "1e3",
    "0x10",
    "NaN",
    "1_0",
    "\u0663",
    "\u00bd",
    "\u03a9 \U0001f9ea",
    "a\nb",
    "a|b",
    "<script>x</script>",
    "../../etc",
    "\x00",
    "\ud800",
    "x" * 5000,
    0,
    1,
    -1,
    0.5,
    -0.0,
    1e-300,
    1e300,
    10**12,
    10**30,
    -(10**30),
    2**31,
    2**63,
    float("nan"),
    float("inf"),
    -float("inf"),
    [],
    [1],
    [None],
    [True],
    [float("nan")],
    ["a", 1, None],
    [[]],
    [-1, 10**12],
    list(range(3000)),
    {},
    {"a": 1},
    {"name": "x", "size": []},
    [{}],
    [{"name": None}],
    "resnet-16-32 ",
    "RESNET50",
    "mlp-0",
    "mlp-" + "9" * 30,
    "cnn-1.5",
    "resnet18\u200b",
    "digits ",
    "imagenet",
    "cosine",
    3.0000001,
]
UNKNOWN = ["seed", "tau", "T", "temperature_", "n_trian", "Seeds", "lr", "\u03c4", "x" * 200]


def model_of(path: Path):
    """(parameter model, quick values) of a chapter, as its notebook defines them."""
    code = [
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    ]
    read = next(i for i, source in enumerate(code) if "chapter.read(" in source)
    scope = {"__name__": path.stem}
    exec("\n".join([*code[:read], code[read].split("p = chapter.read(")[0]]), scope)
    return scope["Parameters"], {
        name: default for name, (default, _) in chapter.declared(path).items()
    }


def finite(value) -> bool:
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def bad_parameters(folder: Path, count: int) -> list[tuple]:
    """Each parameter of each chapter with each bad value: refused by sentences that name it,
    without a stack; what is accepted is listed.
    """
    wrong = Counter(
        dict.fromkeys(
            [
                "other exceptions",
                "sentences that do not name it",
                "sentences of more than 1,500 characters",
                "not finite and accepted",
                "slower than 10 s",
            ],
            0,
        )
    )
    chapters = {p.stem: model_of(p) for p in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    presets = {
        p.parent.name + "/" + p.stem: yaml.safe_load(p.read_text()) or {}
        for p in sorted((ROOT / "presets").glob("published/*.yaml"))
    }
    sets = [
        (c, name, value)
        for c, (model, _) in chapters.items()
        for name in model.model_fields
        for value in BAD
    ]
    sets += [
        (c, name, 1)
        for c, (model, _) in chapters.items()
        for name in UNKNOWN
        if name not in model.model_fields
    ]
    moments, accepted, refused, slow = random.Random(count), [], 0, []
    moments.shuffle(sets)
    with environment(KDCORE_RESULTS="", KDCORE_DATA="", KDCORE_DOWNLOAD=""):
        for chapter_, name, value in sets[:count]:
            model, quick = chapters[chapter_]
            values = (
                quick
                | (presets.get(f"published/{chapter_}", {}) if moments.random() < 0.1 else {})
                | {name: value}
            )
            # of another data set, they go by their own names
            words = {name, *(n for n in ("n_train", "n_test") if name.endswith(n))}
            begin = time.monotonic()
            try:
                read = chapter.read(model, values)
            except chapter.ParameterError as error:
                refused += 1
                lines = str(error).splitlines()
                unnamed = not any(w in line for line in lines for w in words) or not all(lines)
                long = max(map(len, lines)) > 1500
                wrong["sentences that do not name it"] += unnamed
                wrong["sentences of more than 1,500 characters"] += long
                if unnamed or long:
                    sys.stderr.write(f"{chapter_}, {name} = {value!r:.60}: {str(error)[:300]}\n")
            except Exception:
                wrong["other exceptions"] += 1
                sys.stderr.write(f"{chapter_}, {name} = {value!r}:\n{traceback.format_exc(-2)}")
            else:
                field = model.model_json_schema()["properties"][name]
                accepted.append(
                    (
                        chapter_,
                        name,
                        repr(value)[:60],
                        repr(getattr(read, name))[:60],
                        chapter._allowed(field),
                    )
                )
                wrong["not finite and accepted"] += not finite(read.model_dump())
            if time.monotonic() - begin > 10:
                wrong["slower than 10 s"] += 1
                slow.append(f"{chapter_}, {name} = {value!r}"[:100])
    with (folder / "accepted.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("chapter", "parameter", "given", "read as", "because it allows"), *accepted]
        )
    sys.stderr.writelines(f"slow: {s}\n" for s in slow)
    kind, tried = "bad parameters", min(count, len(sets))
    return [
        *((kind, tried, what, n, True) for what, n in wrong.items()),
        (kind, tried, "refused", refused, False),
        (kind, tried, "accepted, as they fit", len(accepted), False),
    ]


# ------------------------------------------------------------------------------------ two at a time


def wait_and_publish(gate: int, numbers):
    os.read(gate, 1)  # until the other end is closed
    publishes(numbers)


def double_publications(folder: Path, count: int) -> list[tuple]:
    """Two processes publish into one folder at once, in turn other rows and partly the same ones:
    all must be there.
    """
    wrong = Counter(
        dict.fromkeys(
            ["rows lost", "lines damaged", "processes that failed", "temporary files left over"], 0
        )
    )
    for trial in range(count):
        place, says = folder / f"{trial}", folder / "says"
        shared = list(range(500, 508)) if trial % 2 else []
        each = [[*range(k * 100, k * 100 + 12), *shared] for k in range(2)]
        gate, close = os.pipe()
        with environment(KDCORE_PUBLISH=place):

            def both(numbers, close=close, gate=gate):
                os.close(close)
                wait_and_publish(gate, numbers)

            pids = [forked(both, numbers, says=says) for numbers in each]
        os.close(gate)
        os.close(close)
        wrong["processes that failed"] += sum(ended(pid, 60) != 0 for pid in pids)
        rows, damaged = published(place)
        wrong["rows lost"] += sum(rows.get(row(n)["key"]) != row(n) for n in {*each[0], *each[1]})
        wrong["lines damaged"] += damaged
        wrong["temporary files left over"] += sum("tmp" in p.name for p in place.iterdir())
        shutil.rmtree(place)
    if wrong["processes that failed"]:
        sys.stderr.write(says.read_text()[-2000:])
    return [("two publications at once", count, what, n, True) for what, n in wrong.items()]


def as_user(number: int, function, *arguments):
    """The function as another user of the group 20,000 that shares its files."""
    os.setgroups([])
    os.setgid(20_000)
    os.setuid(number)
    os.umask(0o002)
    function(*arguments)


def trains(specs, maybe: bool):
    """Asks for rows; training is a fault where everything has to be there."""
    if not maybe:
        tr.fit = lambda *_, **__: (_ for _ in ()).throw(RuntimeError("trained again"))
    results.collect(accuracy, specs, executor=Inline(), progress=False)


def two_users(folder: Path, _: int) -> list[tuple]:
    """Two users of one group share a store: each reads what the other has stored, mends what is
    damaged, and adds to it.
    """
    kind = "two users, one store"
    if os.getuid() != 0:
        print(f"{kind}: skipped, only root can become two other users")
        return [(kind, 0, "skipped: not root", 0, False)]
    place = folder / "shared"
    place.mkdir()
    os.chown(place, -1, 20_000)
    place.chmod(0o2775)
    folder.chmod(0o711)
    with environment(KDCORE_STORE=place, KDCORE_RESULTS="", HOME=folder):

        def step(user, specs, maybe):
            says = folder / f"says {user}"
            says.touch()
            status = ended(forked(as_user, user, trains, specs, maybe, says=says), 120)
            if status != 0:
                sys.stderr.write(f"{kind}, user {user}: {says.read_text()[-1500:]}")
            return status != 0

        wrong = {
            "the first trains": step(20_001, SPECS[:1], True),
            "the second reads": step(20_002, SPECS[:1], False),
            "the second trains with the first one's teachers": step(20_002, SPECS[:2], True),
            "the first reads that": step(20_001, SPECS[:2], False),
        }
        for file in (place / "runs").rglob("meta.json"):
            file.write_bytes(file.read_bytes()[:-1])  # a damaged entry of either
        shutil.rmtree(place / "rows", ignore_errors=True)
        wrong |= {
            "the second mends": step(20_002, SPECS[:2], True),
            "the first reads that again": step(20_001, SPECS[:2], False),
        }
    return [(kind, len(wrong), f"not possible: {what}", int(n), True) for what, n in wrong.items()]


# -------------------------------------------------------------------------------------------- table

KINDS = {  # what is done, with how many: an environment variable and its default
    "kills": [(kills, "KILLS", 20), (publication_kills, "KILLS", 20)],
    "flips": [(flips_in_the_store, "FLIPS", 100), (flips_in_rows, "FLIPS", 100)],
    "parameters": [(bad_parameters, "PARAMETERS", 300)],
    "publications": [(double_publications, "PUBLICATIONS", 10)],
    "users": [(two_users, "USERS", 1)],
}


def command(kinds) -> str:
    """What makes the table again, with as many tries."""
    entries = [entry for kind in kinds for entry in KINDS[kind]]
    tries = {variable: os.environ.get(variable, default) for _, variable, default in entries}
    how = "make faults"
    if set(kinds) != set(KINDS):
        how = f"python tests/faults.py _build/faults.csv {' '.join(kinds)}"
    return " ".join([*(f"{variable}={n}" for variable, n in tries.items()), how]) + "\n"


def kept(table: Path, rows) -> None:
    """Writes the table, whatever comes after."""
    head = ("fault", "tried", "counted", "times", "must be")
    lines = [(fault, tried, what, n, 0 if zero else "") for fault, tried, what, n, zero in rows]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([head, *lines])


def main(table: Path, kinds) -> int:
    table.parent.mkdir(parents=True, exist_ok=True)
    table.with_suffix(".sh").write_text(command(kinds))
    rows = []
    for function, variable, default in (entry for kind in kinds for entry in KINDS[kind]):
        tries, begin = int(os.environ.get(variable, default)), time.monotonic()
        print(f"{function.__name__}: {tries} tries ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            found = function(Path(folder), tries)
            if (accepted := Path(folder) / "accepted.csv").exists():
                shutil.copy(accepted, table.with_suffix(".accepted.csv"))
        rows += found
        kept(table, rows)
        for fault, tried, what, n, zero in found:
            wrong = "WRONG" if zero and n else ""
            print(f"{fault:55} {tried:6}   {what:50} {n:6}  {wrong}".rstrip(), flush=True)
        print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return int(any(zero and n for *_, n, zero in rows))


if __name__ == "__main__":
    if sys.argv[1] == "caller":
        call()
    else:
        # so that a process forked from this one has it; nothing is computed here
        data.load(SPECS[0].data)
        sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or KINDS))
