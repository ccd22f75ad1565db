"""Real browsers on the real system. Left out, and said so, where Node or Chromium is missing; never in CI."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, expect, sync_playwright

from tests.e2e import frontend
from tests.e2e.person import SLOW, Person
from tests.e2e.stack import Stack, run

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

# The library's event loop must be gone before other tests make theirs, so nothing here lives longer than the package.
package = pytest.fixture(scope="package")

ModuleTests = tuple[subprocess.Popen[bytes], Path]
"""They, and what they have printed."""


@package
def built() -> None:
    """A production build of the frontend."""
    if absent := frontend.missing():
        reason = f"{', '.join(absent)} not found: nothing was tested in a browser"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    frontend.build()


@package
def module_tests(
    built: None, postgresql_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModuleTests]:
    """The frontend's own tests, which run beside those in the browser: these mostly wait."""
    environ = {**os.environ, "TEST_AUTH_DATABASE_URL": postgresql_server}
    printed = tmp_path_factory.mktemp("modules") / "printed"
    with printed.open("w") as log:
        command = ["npm", "test"]
        run = subprocess.Popen(
            command, cwd=frontend.FRONTEND, env=environ, stdout=log, stderr=log, start_new_session=True
        )
        yield run, printed
        with suppress(ProcessLookupError):  # nobody waited for it
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


@package
def browser(module_tests: ModuleTests) -> Iterator[Browser]:
    expect.set_options(timeout=SLOW)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        yield chromium
        chromium.close()


STACKS = (("shared-secret", "sqlite"), ("key-pair", "postgresql"))
"""The way keys are shared, and the database of both frontend and API; neither depends on the other."""

on_one_stack = pytest.mark.parametrize("stack", STACKS[:1], indirect=True, ids="-".join)
"""For what is between a person and the page, and the same on each of them."""


@pytest.fixture(scope="package", params=STACKS, ids="-".join)
def stack(
    request: pytest.FixtureRequest,
    built: None,
    postgresql_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """The whole system: in each mode, on each database."""
    mode, dialect = request.param
    with run(mode, dialect, tmp_path_factory.mktemp("stack"), postgresql_server) as started:
        yield started


Arrive = Callable[..., Person]


@pytest.fixture
def arrive(browser: Browser, stack: Stack) -> Iterator[Arrive]:
    """People, each with a browser of their own; what no page may do is looked for when they leave."""
    people: list[Person] = []

    def come(name: str = "Alice", *, on: Stack | None = None, **options: Any) -> Person:
        email = options.pop("email", "")
        context = browser.new_context(**options)
        context.set_default_timeout(SLOW)
        people.append(Person(on or stack, context, context.new_page(), name, email))
        return people[-1]

    yield come
    for person in people:
        for page in person.context.pages:
            assert_holds_no_token(page)
        person.context.close()
        assert person.errors == []


def assert_holds_no_token(page: Any) -> None:
    """A JWT begins with `eyJ`: neither storage, cookie that scripts can read, nor address may hold one."""
    if not page.url.startswith("http"):
        return
    everything = "() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    for _ in range(5):
        page.wait_for_load_state("networkidle")
        try:
            kept = page.evaluate(everything)
        except Error:  # it was on its way to another page
            continue
        assert "eyJ" not in kept
        return
    raise AssertionError("the page does not come to rest")


@pytest.fixture
def alice(arrive: Arrive) -> Person:
    """Signed up a moment ago."""
    return arrive("Alice").sign_up()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: `SCREENSHOTS` names the folder of the docs when they are to be renewed."""
    named = os.environ.get("SCREENSHOTS")
    return Path(named) if named else tmp_path_factory.mktemp("screenshots")
