"""The explorer in a real JupyterLab, in a real browser: a slider moves, and list, words and picture change.

Needs Debian's ``chromium`` and ``chromium-driver``, and the extra ``browser``; everything stays on 127.0.0.1. The
screenshot is written to the folder of the variable ``MANIFOLD_SCREENSHOTS``, if there is one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

import manifold as mf
from manifold.explorer import Settings

PACKAGES = [name for name in ("ipykernel", "ipywidgets", "jupyterlab", "selenium") if find_spec(name) is None]
PROGRAMS = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(PACKAGES), reason=f"no {', '.join(PACKAGES)}: pip install 'manifold-search[browser]'"),
    pytest.mark.skipif(bool(PROGRAMS), reason=f"no {', '.join(PROGRAMS)}: apt-get install chromium chromium-driver"),
]

SECONDS = 120  # for whatever is waited for, on a busy machine
QUERY = 170
CODE = f"""\
import manifold as mf
from manifold.explorer import Settings

X, y = mf.datasets.digits()
explorer = mf.Explorer(mf.ManifoldSearch(preset="plain-diffusion").fit(X), X, items=X.reshape(-1, 8, 8), labels=y)
explorer.settings = Settings(query={QUERY})
explorer
"""


def until(found: Callable[[], Any], what: str) -> Any:
    """Return what is found, when it is."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    pytest.fail(f"{what}: not within {SECONDS} s")


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[str]:
    """A JupyterLab of its own, and the address of a notebook in it."""
    cell = {"cell_type": "code", "source": CODE, "outputs": [], "execution_count": None, "metadata": {}, "id": "one"}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "explore.ipynb").write_text(
        json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    )
    quiet = tmp_path / ".jupyter/lab/user-settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += [
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=explorer",
        f"--notebook-dir={tmp_path / 'work'}",
    ]
    env = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "PYTEST_CURRENT_TEST")}
    env |= {"HOME": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: answers(port) or server.poll() is not None, "JupyterLab")
        assert server.poll() is None, (tmp_path / "server.log").read_text()
        yield f"http://127.0.0.1:{port}/lab/tree/explore.ipynb?token=explorer"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/api", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    flags = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1500,1500")
    for flag in (*flags, f"user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(f"--{flag}")
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_page_load_timeout(SECONDS)
    try:
        yield driver
    finally:
        driver.save_screenshot(str(Path(os.environ.get("MANIFOLD_SCREENSHOTS", tmp_path)) / "explorer.png"))
        driver.quit()


def test_a_slider_moves_and_the_ranking_changes(notebook, browser):
    from selenium.common import WebDriverException
    from selenium.webdriver import ActionChains, Keys

    def find(selector: str) -> Any:
        return next(iter(browser.find_elements("css selector", selector)), None)

    def click(selector: str) -> bool:
        try:
            browser.find_element("css selector", selector).click()
        except WebDriverException:  # not there, or under something that goes away
            return False
        return True

    def shown() -> tuple[str, str, str]:
        return (
            find(".manifold-words").text,
            find(".manifold-lists").text,
            find(".manifold-picture").get_attribute("src"),
        )

    def ids(text: str) -> list[int]:
        """The second list of the table: of each row, the id that follows the second mark."""
        return [int(re.findall(r"[✓✗] (\d+)", line)[1]) for line in text.splitlines()[1:]]

    def drawn(selector: str) -> bool:
        image = find(selector)
        return image.is_displayed() and image.get_property("naturalWidth") > 300

    browser.get(notebook)
    until(lambda: (bar := find("#jp-main-statusbar")) and "| Idle" in bar.text, "the kernel")
    until(lambda: click(".jp-Notebook .jp-CodeCell .cm-content"), "the notebook")
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    until(lambda: find(".manifold-lists table"), "the lists")
    before = shown()

    X, y = mf.datasets.digits()
    model = mf.Explorer(mf.ManifoldSearch(preset="plain-diffusion").fit(X), X, labels=y).exploration
    assert ids(before[1]) == model.answer(Settings(QUERY)).ranking.ids.tolist()

    handle = find(".manifold-alpha .noUi-handle")
    ActionChains(browser).drag_and_drop_by_offset(handle, -70, 0).perform()
    until(lambda: all(new != old for new, old in zip(shown(), before, strict=True)), "another ranking")
    alpha = float(find(".manifold-alpha .widget-readout").text)
    assert 0.05 < alpha < 0.9
    until(lambda: f"Diffusion(alpha={alpha:g})" in shown()[0], "the end of the slide")
    lists = shown()[1]
    assert ids(lists) == model.answer(Settings(QUERY, mf.Diffusion(alpha))).ranking.ids.tolist()
    assert ids(lists) != ids(before[1])
    until(lambda: drawn(".manifold-picture"), "the picture")

    find(".manifold-rank .noUi-handle").send_keys(Keys.ARROW_RIGHT)
    until(lambda: drawn(".manifold-why"), "the explanation of the first item")
