"""Browser profiles: cookies, storage and a cache, without what another user has stored."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from playwright.sync_api import Browser, BrowserContext

from tests.e2e.person import TIMEOUT


class Profiles:
    """Opens browser profiles, and uses one again that a test has left: the cache has the scripts and styles then.

    A new profile for each user loads them again, which takes a fifth of the CPU time of a short test.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: defaultdict[str, list[BrowserContext]] = defaultdict(list)
        self._kinds: dict[BrowserContext, str] = {}

    def take(self, **options: Any) -> BrowserContext:
        """Return an empty profile; `options` are those of Playwright's `new_context`."""
        options = {"reduced_motion": "reduce", **options}  # frames of animations take CPU time, and are pale
        kind = repr(sorted(options.items()))
        if self._free[kind]:
            return self._free[kind].pop()
        context = self._browser.new_context(**options)
        context.set_default_timeout(TIMEOUT)
        self._kinds[context] = kind
        return context

    def give_back(self, context: BrowserContext, origin: str) -> None:
        """Close the pages of a profile and delete all data but the cache, so that another user can take it."""
        page = context.new_page()
        context.new_cdp_session(page).send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        context.clear_cookies()
        context.set_offline(offline=False)
        for each in context.pages:
            each.close()
        self._free[self._kinds[context]].append(context)
