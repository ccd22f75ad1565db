"""A user with a separate browser profile: actions and expectations on the pages, by accessible names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from playwright.sync_api import BrowserContext, Error, Locator, Page, expect

from tests.e2e.api import send
from tests.e2e.stack import Stack
from tests.waiting import until

_numbers = count(1)

TIMEOUT = 60_000
"""Milliseconds in which an expected change must be visible; a limit of the tests, not of the product."""


@dataclass
class Person:
    """A user with a browser profile (cookies, storage) in which one page is open."""

    stack: Stack
    context: BrowserContext
    page: Page
    name: str
    email: str = ""
    password: str = "correct horse battery"
    errors: list[str] = field(default_factory=list)
    """Uncaught exceptions and error messages of the browser console."""

    def __post_init__(self) -> None:
        self.email = self.email or f"{self.name.lower()}-{next(_numbers)}@example.com"
        self.watch(self.page)

    def watch(self, page: Page) -> None:
        """Record the errors of a page."""
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        # The browser reports each failed request; some tests cause such failures.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    # Pages.

    def go(self, path: str = "/") -> Page:
        """Open a path of the frontend."""
        try:
            self.page.goto(self.stack.url + path)
        except Error as error:
            # The page was redirecting to the sign-in at this moment: Chromium reports that in one of two ways.
            if "interrupted by another navigation" not in error.message and "net::ERR_ABORTED" not in error.message:
                raise
            self.page.goto(self.stack.url + path)
        return self.page

    def sign_up(self) -> Person:
        """Create the account with one request, without the sign-up page, and open the task page."""
        account = {"name": self.name, "email": self.email, "password": self.password}
        headers = {"Origin": self.stack.url}
        response = self.context.request.post(f"{self.stack.url}/api/auth/sign-up/email", data=account, headers=headers)
        assert response.ok, response.text()
        self.go()
        self.sees_tasks()
        return self

    def sign_up_on_page(self) -> Person:
        """Create the account on the sign-up page."""
        page = self.go("/sign-up")
        page.get_by_label("Name").fill(self.name)
        page.get_by_label("Email").fill(self.email)
        page.get_by_label("Password").fill(self.password)
        page.get_by_role("button", name="Sign up").click()
        self.sees_tasks()
        return self

    def sign_in(self, password: str | None = None) -> Person:
        """Sign in with the password of this user, or another one."""
        page = self.go("/sign-in")
        page.get_by_label("Email").fill(self.email)
        page.get_by_label("Password").fill(password or self.password)
        page.get_by_role("button", name="Sign in").click()
        self.sees_tasks()
        return self

    def sign_out(self) -> None:
        """Sign out with the account menu."""
        self.page.get_by_role("button", name="Account menu").click()
        self.page.get_by_role("menuitem", name="Sign out").click()
        self.sees_sign_in()

    def sees_tasks(self) -> None:
        """Expect the task page."""
        expect(self.page.get_by_role("heading", name="Tasks", level=1)).to_be_visible()

    def sees_sign_in(self) -> None:
        """Expect the sign-in page."""
        expect(self.page.get_by_role("heading", name="Sign in", level=1)).to_be_visible()

    # Tasks.

    @property
    def add_box(self) -> Locator:
        """The text box for the title of a new task."""
        return self.page.get_by_role("textbox", name="Add a task")

    def add(self, title: str) -> Locator:
        """Create a task and return its row."""
        self.add_box.fill(title)
        self.add_box.press("Enter")
        expect(self.task(title)).to_be_visible()
        return self.task(title)

    def task(self, title: str) -> Locator:
        """Return the row of a task."""
        rows = self.page.get_by_role("list", name="Tasks", exact=True).get_by_role("listitem")
        return rows.filter(has=self.page.get_by_role("checkbox", name=f"Complete “{title}”", exact=True))

    def checkbox(self, title: str) -> Locator:
        """Return the checkbox that completes a task."""
        return self.page.get_by_role("checkbox", name=f"Complete “{title}”", exact=True)

    def complete(self, title: str) -> None:
        """Complete a task."""
        self.checkbox(title).click()
        expect(self.checkbox(title)).to_be_checked()

    def rename(self, title: str, new: str) -> None:
        """Change the title of a task in place."""
        self.page.get_by_role("button", name=f"Edit “{title}”").click()
        box = self.page.get_by_role("textbox", name="Title")
        box.fill(new)
        box.press("Enter")

    def is_up_to_date(self) -> None:
        """Expect that the page has no change left to send."""
        expect(self.page.locator("[data-pending]")).to_have_count(0, timeout=2 * TIMEOUT)

    def reload(self) -> None:
        """Reload after every change was sent: before, the page would ask for confirmation."""
        self.is_up_to_date()
        self.page.reload()

    def leave(self) -> None:
        """Open a blank page in the tab after every change was sent: a change in flight would be canceled."""
        self.is_up_to_date()
        self.page.goto("about:blank")

    def saved(self) -> list[Any]:
        """Return the tasks of the API after every change was sent."""
        self.is_up_to_date()
        # A token that is valid for seconds may have expired when the API receives it.
        _, tasks = until(lambda: response if (response := send(self.stack, self.token()))[0] == 200 else None)
        saved: list[Any] = tasks
        return saved

    def titles(self) -> list[str]:
        """Return the titles of the list from top to bottom."""
        names = self.page.get_by_role("checkbox", name=re.compile("^Complete “")).evaluate_all(
            "boxes => boxes.map(box => box.getAttribute('aria-label') || box.labels?.[0]?.textContent || '')"
        )
        return [name.removeprefix("Complete “").removesuffix("”") for name in names]

    # Tokens.

    def token(self) -> str:
        """Request an access token for the session of this browser."""
        response = self.context.request.get(f"{self.stack.url}/api/auth/token")
        assert response.ok, response.text()
        token: str = response.json()["token"]
        return token
