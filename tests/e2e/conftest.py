"""Browser tests of frontend and API together. Skipped without Node.js or Chromium; in CI that is a failure."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, expect, sync_playwright

from tests.e2e import frontend
from tests.e2e.person import TIMEOUT, Person
from tests.e2e.profiles import Profiles
from tests.e2e.stack import Stack, run

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

# Playwright's event loop must have ended before other tests start theirs: the fixtures end with this package.
package = pytest.fixture(scope="package")

ModuleTests = tuple[subprocess.Popen[bytes], Path]
"""The process of the unit tests and the file of its output."""


@package
def built() -> None:
    """Build the frontend."""
    if missing := frontend.missing_programs():
        reason = f"not installed: {', '.join(missing)}; the browser tests did not run"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    frontend.build()


@package
def module_tests(
    built: None, postgresql_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModuleTests]:
    """Start the unit tests of the frontend; they run in parallel to the browser tests, which mostly wait."""
    environ = {**os.environ, "TEST_AUTH_DATABASE_URL": postgresql_server}
    output = tmp_path_factory.mktemp("unit-tests") / "output"
    with output.open("w") as log:
        # One process for all files: each of its own would import Better Auth and Next.js again (77 s of CPU, not 57 s).
        command = ["npm", "test", "--", "--no-isolate", "--maxWorkers=1"]
        run = subprocess.Popen(
            command, cwd=frontend.FRONTEND, env=environ, stdout=log, stderr=log, start_new_session=True
        )
        yield run, output
        with suppress(ProcessLookupError):  # it has ended
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


@package
def profiles(module_tests: ModuleTests) -> Iterator[Profiles]:
    """The profiles of a Chromium without a window."""
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=frontend.browser(), args=list(FLAGS))
        yield Profiles(chromium)
        chromium.close()


STACKS = (("shared-secret", "sqlite"), ("key-pair", "postgresql"))
"""TOKEN_MODE and the database of both frontend and API, which are independent of each other."""

on_one_stack = pytest.mark.parametrize("stack", STACKS[:1], indirect=True, ids="-".join)
"""For tests of the page alone, whose result does not depend on the token mode or the database."""


@pytest.fixture(scope="package", params=STACKS, ids="-".join)
def stack(
    request: pytest.FixtureRequest,
    built: None,
    postgresql_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Frontend and API in each token mode, on each database."""
    mode, dialect = request.param
    with run(mode, dialect, tmp_path_factory.mktemp("stack"), postgresql_server) as started:
        yield started


Arrive = Callable[..., Person]


@pytest.fixture
def arrive(profiles: Profiles, stack: Stack) -> Iterator[Arrive]:
    """Function that opens a browser profile for a user.

    At the end no page may hold a token, and no browser may have reported an error.
    """
    people: list[Person] = []

    def open_profile(name: str = "Alice", *, on: Stack | None = None, **options: Any) -> Person:
        email = options.pop("email", "")
        context = profiles.take(**options)
        people.append(Person(on or stack, context, context.new_page(), name, email))
        return people[-1]

    yield open_profile
    for person in people:
        for page in person.context.pages:
            assert_holds_no_token(page)
        profiles.give_back(person.context, person.stack.url)
        assert person.errors == []


def assert_holds_no_token(page: Any) -> None:
    """Assert that no JWT (it begins with `eyJ`) is in storage, in a cookie that scripts can read, or in the URL."""
    if not page.url.startswith("http"):
        return
    read_all = "() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    for _ in range(5):
        page.wait_for_load_state("networkidle")
        try:
            content = page.evaluate(read_all)
        except Error:  # the page was navigating
            continue
        assert "eyJ" not in content
        return
    raise AssertionError("the page navigates again and again")


@pytest.fixture
def alice(arrive: Arrive) -> Person:
    """A user who has just signed up."""
    return arrive("Alice").sign_up()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of screenshots: a temporary one, or the one that `SCREENSHOTS` names (`make screenshots`)."""
    folder = os.environ.get("SCREENSHOTS")
    return Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
