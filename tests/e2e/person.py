"""Somebody with a browser of their own: what a person can see and do on the pages, by the names that things have."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from playwright.sync_api import BrowserContext, Error, Locator, Page, expect

from tests.e2e.api import ask
from tests.e2e.stack import Stack
from tests.waiting import until

_numbers = count(1)

SLOW = 15_000
"""Milliseconds that something may take which crosses all of the system on a busy machine."""


@dataclass
class Person:
    """One browser profile (cookies and all) with one page open."""

    stack: Stack
    context: BrowserContext
    page: Page
    name: str
    email: str = ""
    password: str = "correct horse battery"
    errors: list[str] = field(default_factory=list)
    """What the browser has complained about."""

    def __post_init__(self) -> None:
        self.email = self.email or f"{self.name.lower()}-{next(_numbers)}@example.com"
        self.watch(self.page)

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        # A refused or failed request is reported by the browser itself, and is what some tests are about.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    # Pages.

    def go(self, path: str = "/") -> Page:
        try:
            self.page.goto(self.stack.url + path)
        except Error as error:
            # The page was just leaving by itself, for the sign-in: Chromium reports that in one of two ways.
            if "interrupted by another navigation" not in error.message and "net::ERR_ABORTED" not in error.message:
                raise
            self.page.goto(self.stack.url + path)
        return self.page

    def sign_up(self) -> Person:
        page = self.go("/sign-up")
        page.get_by_label("Name").fill(self.name)
        page.get_by_label("Email").fill(self.email)
        page.get_by_label("Password").fill(self.password)
        page.get_by_role("button", name="Sign up").click()
        self.sees_tasks()
        return self

    def sign_in(self, password: str | None = None) -> Person:
        page = self.go("/sign-in")
        page.get_by_label("Email").fill(self.email)
        page.get_by_label("Password").fill(password or self.password)
        page.get_by_role("button", name="Sign in").click()
        self.sees_tasks()
        return self

    def sign_out(self) -> None:
        self.page.get_by_role("button", name="Account menu").click()
        self.page.get_by_role("menuitem", name="Sign out").click()
        self.sees_sign_in()

    def sees_tasks(self) -> None:
        expect(self.page.get_by_role("heading", name="Tasks", level=1)).to_be_visible()

    def sees_sign_in(self) -> None:
        expect(self.page.get_by_role("heading", name="Sign in", level=1)).to_be_visible()

    # Tasks.

    @property
    def add_box(self) -> Locator:
        return self.page.get_by_role("textbox", name="Add a task")

    def add(self, title: str) -> Locator:
        self.add_box.fill(title)
        self.add_box.press("Enter")
        expect(self.task(title)).to_be_visible()
        return self.task(title)

    def task(self, title: str) -> Locator:
        """The row of a task."""
        rows = self.page.get_by_role("list", name="Tasks", exact=True).get_by_role("listitem")
        return rows.filter(has=self.page.get_by_role("checkbox", name=f"Complete “{title}”", exact=True))

    def checkbox(self, title: str) -> Locator:
        return self.page.get_by_role("checkbox", name=f"Complete “{title}”", exact=True)

    def complete(self, title: str) -> None:
        self.checkbox(title).click()
        expect(self.checkbox(title)).to_be_checked()

    def rename(self, title: str, new: str) -> None:
        self.page.get_by_role("button", name=f"Edit “{title}”").click()
        box = self.page.get_by_role("textbox", name="Title")
        box.fill(new)
        box.press("Enter")

    def is_up_to_date(self) -> None:
        """Every change made here has arrived."""
        expect(self.page.locator("[data-pending]")).to_have_count(0, timeout=2 * SLOW)

    def reload(self) -> None:
        """Not before every change has arrived: the page would ask."""
        self.is_up_to_date()
        self.page.reload()

    def saved(self) -> list[Any]:
        """What the API holds, once every change made here has arrived."""
        self.is_up_to_date()
        # Where a token lives for seconds only, it may be over when it arrives.
        _, tasks = until(lambda: found if (found := ask(self.stack, self.token()))[0] == 200 else None)
        saved: list[Any] = tasks
        return saved

    def titles(self) -> list[str]:
        """What stands in the list, from top to bottom."""
        names = self.page.get_by_role("checkbox", name=re.compile("^Complete “")).evaluate_all(
            "boxes => boxes.map(box => box.getAttribute('aria-label') || box.labels?.[0]?.textContent || '')"
        )
        return [name.removeprefix("Complete “").removesuffix("”") for name in names]

    # The API, as the page's own script could ask it.

    def token(self) -> str:
        """A copy of an access token of this browser's session."""
        answer = self.context.request.get(f"{self.stack.url}/api/auth/token")
        assert answer.ok, answer.text()
        token: str = answer.json()["token"]
        return token
