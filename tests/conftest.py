"""Fixtures that several test files share."""

import shutil

import pytest


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    """A run store for the tests of one file, and one thread; `pytestmark = pytest.mark.usefixtures("own_store")` asks for it."""
    import torch

    from kdcore.train import frozen

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDCORE_STORE", str(tmp_path_factory.mktemp("store")))
        frozen.cache_clear()
        torch.set_num_threads(1)
        yield
    frozen.cache_clear()


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=shutil.which("chromium") or shutil.which("chromium-browser"), args=["--no-sandbox"])
        yield chromium
        chromium.close()
