"""Your own data, named in one line: what lies under KDCORE_DATA as class folders of images, or as
files of texts.

    folder:NAME   NAME/train/<class>/ and NAME/test/<class>/ (or val): pictures (PNG, JPEG, TIFF,
                  WebP, GIF, BMP, PNM), turned as their camera says and resized to `size` x `size`
                  pixels, grey where all of them are, else colour
    csv:NAME      NAME/train.csv and NAME/test.csv (or val, dev; plain or .gz), UTF-8, header
                  text,label; NAME/classes.txt, where it is there, has a class a line, and a label
                  is one of these names or a line's number from 0; else labels are names, or whole
                  numbers from 0

`digest` names the bytes that are there; it is part of a run's spec, so that changed data are
another run. Imports neither torch nor torchvision.
"""

import csv
import functools
import gzip
import hashlib
import io
import os
import re
import time
import zlib
from pathlib import Path

import numpy as np

NAME = re.compile(r"(folder|csv):[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
PARTS = {"folder": ("train", ("test", "val")), "csv": ("train", ("test", "val", "dev"))}
MOST_BYTES = 2**32  # of images held in memory
MOST_TEXT = 2**31  # bytes of an unpacked file of texts
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
# what else Pillow opens may start other programs
PICTURES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)


def is_own(name: str) -> bool:
    """Whether the name is that of somebody's own data. ValueError in one sentence for one that
    begins so and is none.
    """
    kind = name.partition(":")[0]
    if kind in PARTS and ":" in name and not NAME.fullmatch(name):
        raise ValueError(
            f"Data set {name!r}: after {kind}: comes the name of a folder under KDCORE_DATA, "
            "letters, digits, '.', '_' and '-' only."
        )
    return bool(NAME.fullmatch(name))


def _said(name, root):
    return f"Data set {name!r} in KDCORE_DATA = {root}"


def parts(name: str, root: str) -> dict[str, Path]:
    """{"train": path, "test": path} of the class folders or files. ValueError in one sentence: what
    is missing, and where it was looked for.
    """
    kind, _, folder = name.partition(":")
    if not root:
        raise ValueError(
            f"Data set {name!r} is not here: set KDCORE_DATA to the folder that holds {folder}."
        )
    here, (train, tests) = Path(root) / folder, PARTS[kind]
    ends = ("",) if kind == "folder" else (".csv", ".csv.gz")
    found = {}
    for part, stems in (("train", (train,)), ("test", tests)):
        places = [here / f"{stem}{end}" for stem in stems for end in ends]
        there = [
            place for place in places if (place.is_dir() if kind == "folder" else place.is_file())
        ]
        if not there:
            raise ValueError(
                f"{_said(name, root)} is not here: looked for "
                f"{' or '.join(str(p.relative_to(root)) for p in places)}."
            )
        if len(there) > 1:
            raise ValueError(
                f"{_said(name, root)}: {' and '.join(str(p.relative_to(root)) for p in there)} "
                "are both there; leave one of them."
            )
        found[part] = there[0]
    if os.path.samefile(found["train"], found["test"]):
        raise ValueError(
            f"{_said(name, root)}: its training part and its test part are the same "
            f"{'folder' if kind == 'folder' else 'file'}."
        )
    return found


def lines(file: Path, said: str) -> list[str]:
    """The lines of a list, without blanks at their ends and without empty lines at its end.
    ValueError: not UTF-8, not readable, an empty line inside.
    """
    try:
        found = [
            line.strip() for line in file.read_text(encoding="utf-8-sig").rstrip().splitlines()
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{said}: {file} is not a list in UTF-8 ({error}).") from error
    if "" in found:
        raise ValueError(f"{said}: line {found.index('') + 1} of {file} is empty.")
    return found


# ------------------------------------------------------------------------ class folders of pictures


def picture_files(folder: Path, said: str) -> dict[str, list[Path]]:
    """{class: its pictures, by name}, classes by name. Hidden files and whatever no picture is
    called by are left out.

    ValueError: a class without a picture, a link to nowhere, pictures that lie beside the class
    folders or deeper than in them.
    """
    classes = []
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.name.startswith("."):
            continue
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise ValueError(f"{said}: {folder.name}/{entry.name} is a link to nowhere.")
        if entry.is_dir():
            classes.append(entry.name)
        elif entry.name.lower().endswith(PICTURES):
            raise ValueError(
                f"{said}: the picture {folder.name}/{entry.name} lies beside the class folders; "
                "it belongs into one of them."
            )
    files = {}
    for c in classes:
        inside = [entry for entry in os.scandir(folder / c) if not entry.name.startswith(".")]
        if wrong := next(
            (e for e in inside if e.is_dir() or (e.is_symlink() and not os.path.exists(e.path))),
            None,
        ):
            raise ValueError(
                f"{said}: {folder.name}/{c} holds {wrong.name}, a folder or a link to nowhere; "
                "pictures lie directly in their class folder."
            )
        files[c] = sorted(folder / c / e.name for e in inside if e.name.lower().endswith(PICTURES))
    if empty := [c for c in classes if not files[c]]:
        raise ValueError(f"{said}: the class folder {folder.name}/{empty[0]} holds no picture.")
    if len(classes) < 2:
        raise ValueError(
            f"{said}: {folder.name} holds {len(classes)} class folders with pictures; at least 2 "
            "are needed."
        )
    return files


def same_classes(train: dict, test: dict, said: str) -> None:
    """ValueError where the class folders of the two parts differ."""
    if list(train) != list(test):
        other = sorted(set(train) ^ set(test))
        raise ValueError(
            f"{said}: the class folders of its training part and of its test part differ, first "
            f"in {other[0]!r}; they must be the same."
        )


def eight_bits(image):
    """A picture as mode L or RGB of eight bits: sixteen bits are scaled by 255 / 65535, never
    clipped. ValueError for values whose range is not known.
    """
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return Image.fromarray(
            np.rint(np.asarray(image).astype(np.int64) * (255 / 65_535)).astype(np.uint8)
        )
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its values have {'32 bits' if image.mode == 'I' else 'floating points'}, and "
            "nothing says which of them is white; 8 or 16 bits are read"
        )
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    # what is transparent is shown on white
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def opened(file: Path, said: str):
    """The picture in a file, upright, mode L or RGB. ValueError that names it: damaged, too large,
    or values that do not fit eight bits.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            return eight_bits(
                ImageOps.exif_transpose(image) if image.mode[0] not in "IF" else image
            )
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        raise ValueError(
            f"{said}: the picture {file} is missing or damaged, or cannot be used "
            f"({str(error).rstrip('.')})."
        ) from error


def pictures(name: str, root: str, size: int) -> tuple[list, tuple[str, ...]]:
    """([train_x, train_y, test_x, test_y], classes): uint8 (n, 1 or 3, size, size), labels int64,
    by class and then by file name.
    """
    from PIL import Image

    said = _said(name, root)
    files = {part: picture_files(place, said) for part, place in parts(name, root).items()}
    same_classes(files["train"], files["test"], said)
    count = sum(len(f) for part in files.values() for f in part.values())
    if count * 3 * size * size > MOST_BYTES:
        raise ValueError(
            f"{said}: {count} pictures of {size} x {size} pixels take more than "
            f"{MOST_BYTES // 2**30} GiB of memory; give a smaller size."
        )
    read = {
        part: [
            opened(f, said).resize((size, size), Image.Resampling.LANCZOS)
            for c in files[part]
            for f in files[part][c]
        ]
        for part in files
    }
    mode = "L" if all(image.mode == "L" for images in read.values() for image in images) else "RGB"
    arrays = []
    for part, images in read.items():
        x = np.stack([np.atleast_3d(np.asarray(image.convert(mode))) for image in images])
        arrays += [
            x.transpose(0, 3, 1, 2).copy(),
            np.repeat(np.arange(len(files[part])), [len(f) for f in files[part].values()]),
        ]
    return arrays, tuple(files["train"])


# ----------------------------------------------------------------------------------- files of texts


def unpacked(file: Path) -> bytes:
    """The content of a file, of a packed one what is in it. ValueError above MOST_TEXT bytes;
    OSError, EOFError, zlib.error: cannot be read.
    """
    with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as stream:
        content = stream.read(MOST_TEXT + 1)
    if len(content) > MOST_TEXT:
        raise ValueError(f"{file} holds more than {MOST_TEXT // 2**30} GiB")
    return content


def rows(file: Path, said: str) -> list[tuple[int, str, str]]:
    """[(line, text, label)] of a file with the header text,label. ValueError in one sentence that
    names file and line.
    """
    try:
        content = unpacked(file).decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(
            f"{said}: {file} is not UTF-8 text{' in gzip' * (file.suffix == '.gz')} ({error})."
        ) from error
    reader, found, line = csv.reader(io.StringIO(content, newline=""), strict=True), [], 1
    try:
        if [field.strip() for field in next(reader, [])] != ["text", "label"]:
            raise ValueError(f"{said}: {file} must begin with the header text,label.")
        line = reader.line_num + 1
        for row in reader:
            if row:  # not an empty line
                if len(row) != 2 or not row[0].strip() or not row[1].strip():
                    raise ValueError(f"{said}: line {line} of {file} is not a text and its label.")
                found.append((line, row[0], row[1].strip()))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{said}: line {line} of {file} is not CSV ({error}).") from error
    if not found:
        raise ValueError(f"{said}: {file} holds no text.")
    return found


def _classes(name, root, train):
    """The classes in the order of their numbers: those of classes.txt, else the whole numbers up to
    the largest, else the names by the alphabet.
    """
    listed, said = Path(root) / name.partition(":")[2] / "classes.txt", _said(name, root)
    labels = {label for _, _, label in train}
    numbers = [label for label in labels if WHOLE_NUMBER.fullmatch(label)]
    if listed.is_file():
        classes = tuple(lines(listed, said))
        if len(set(classes)) < len(classes):
            raise ValueError(f"{said}: classes.txt names a class twice.")
    elif len(numbers) == len(labels):
        most = max(map(int, labels))
        classes = tuple(map(str, range(most + 1 if most < 100_000 else 0)))
    elif numbers:
        other = min(labels - set(numbers))
        raise ValueError(
            f"{said}: labels are whole numbers like {min(numbers)!r} and others like "
            f"{other[:40]!r}; write all as names or all as numbers from 0."
        )
    else:
        classes = tuple(sorted(labels))
    if len(classes) < 2:
        raise ValueError(
            f"{said}: {len(classes)} classes; at least 2 are needed, as names or as whole numbers "
            "from 0."
        )
    return classes


def texts(name: str, root: str) -> tuple[dict[str, tuple[list[str], list[int]]], tuple[str, ...]]:
    """({"train": (texts, labels), "test": ...}, classes). ValueError: a label that is no class, a
    class without a training text.
    """
    said, files = _said(name, root), parts(name, root)
    found = {part: rows(file, said) for part, file in files.items()}
    classes = _classes(name, root, found["train"])
    number = {c: i for i, c in enumerate(classes)}
    # else a number is a name, and not a line's number
    if not any(WHOLE_NUMBER.fullmatch(c) for c in classes):
        number |= {str(i): i for i in range(len(classes))}
    read = {}
    for part, lines in found.items():
        if wrong := next(((line, label) for line, _, label in lines if label not in number), None):
            lines_too = "" if len(number) == len(classes) else f", or 0 to {len(classes) - 1}"
            raise ValueError(
                f"{said}: line {wrong[0]} of {files[part]} has the label {wrong[1][:40]!r}; "
                f"allowed are the {len(classes)} classes {classes[0][:40]!r} to "
                f"{classes[-1][:40]!r}{lines_too}."
            )
        read[part] = [text for _, text, _ in lines], [number[label] for _, _, label in lines]
    if missing := set(range(len(classes))) - set(read["train"][1]):
        raise ValueError(f"{said}: the class {classes[min(missing)]!r} has no training text.")
    return read, classes


# ----------------------------------------------------------------------------- what identifies them


def _used(name, root):
    """The files that are read, with the names by which the digest knows them."""
    places = parts(name, root)
    if name.startswith("csv:"):
        listed = Path(root) / name.partition(":")[2] / "classes.txt"
        return {part: file for part, file in places.items()} | (
            {"classes": listed} if listed.is_file() else {}
        )
    return {
        f"{part}/{c}/{f.name}": f
        for part, place in places.items()
        for c, files in picture_files(place, _said(name, root)).items()
        for f in files
    }


@functools.lru_cache(maxsize=8)
def _digest(listing):
    total = hashlib.sha256()
    for key, file, *_ in listing:
        total.update(f"{key}\0{hashlib.sha256(unpacked(Path(file))).hexdigest()}\n".encode())
    return total.hexdigest()[:32]


@functools.lru_cache(maxsize=8)
def _seen(name, root, minute):
    stats = {key: (str(file), file.stat()) for key, file in _used(name, root).items()}
    return _digest(
        tuple(
            (key, file, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
            for key, (file, s) in sorted(stats.items())
        )
    )


def digest(name: str, root: str) -> str:
    """32 hexadecimal digits of SHA-256 over names and bytes of all files that are read, of packed
    ones over their content.

    Every `kdcore.data.load` asks for it, so a process looks for changed files once a minute.
    """
    try:
        return _seen(name, root, int(time.monotonic() // 60))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{_said(name, root)} cannot be read ({error}).") from error


def counts(name: str, root: str) -> tuple[int, int]:
    """(training, test) examples, without opening a picture."""
    said = _said(name, root)
    found = [
        rows(place, said)
        if name.startswith("csv:")
        else [f for c in picture_files(place, said).values() for f in c]
        for place in parts(name, root).values()
    ]
    return len(found[0]), len(found[1])
