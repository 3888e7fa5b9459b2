"""Where the environment says that things lie: KDCORE_STORE, KDCORE_DATA, KDCORE_PUBLISH and
KDCORE_RESULTS each name a folder.
"""

import os
from pathlib import Path

VARIABLES = ("KDCORE_STORE", "KDCORE_DATA", "KDCORE_PUBLISH", "KDCORE_RESULTS", "KDCORE_EXECUTOR")


def path_of(variable: str) -> str:
    """The absolute path that one of VARIABLES names; "" where it is empty or not set.

    `~` is the home folder. A relative path begins where the command was given, also in a notebook,
    whose kernel works in the notebook's own folder. All of them are made absolute in the
    environment when the first is asked for: a change of the working folder, a worker and a kernel
    then mean the same folders. ValueError where the home folder after `~` is not known.
    """
    # a kernel inherits the shell's PWD, whatever folder it is started in; elsewhere PWD may be
    # older than the working folder
    begin = Path(os.environ.get("PWD", "") if "JPY_PARENT_PID" in os.environ else "")
    for name in VARIABLES:
        if given := os.environ.get(name):
            try:
                path = Path(given).expanduser()
            except RuntimeError as error:
                raise ValueError(
                    f"{name} = {given!r} is no folder ({error}): write the path out"
                ) from error
            if not path.is_absolute():
                path = Path.cwd() / begin / path
            if str(path) != given:
                os.environ[name] = str(path)
    return os.environ.get(variable, "")
