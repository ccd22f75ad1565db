"""Adding, completing, editing, finding and deleting tasks, with the result shown now and after a reload."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from playwright.sync_api import expect

from tests.e2e.conftest import Arrive, on_one_stack
from tests.e2e.person import Person


def test_added_and_completed_tasks_are_shown_after_a_reload(arrive: Arrive):
    alice = arrive("Alice").sign_up_on_page()
    alice.add("Buy milk")
    alice.add("Call the plumber")
    alice.complete("Buy milk")
    expect(alice.page.get_by_text("1 open")).to_be_visible()

    alice.reload()

    expect(alice.task("Call the plumber")).to_be_visible()
    expect(alice.checkbox("Buy milk")).to_be_checked()
    expect(alice.checkbox("Call the plumber")).not_to_be_checked()
    tasks = alice.saved()
    assert [(task["title"], task["completed"]) for task in tasks] == [("Call the plumber", False), ("Buy milk", True)]


@on_one_stack
def test_a_title_is_edited_in_place(alice: Person):
    alice.add("Buy mlik")

    alice.rename("Buy mlik", "Buy milk")

    expect(alice.task("Buy milk")).to_be_visible()
    expect(alice.page.get_by_role("button", name="Edit “Buy milk”")).to_be_focused()
    alice.reload()
    expect(alice.task("Buy milk")).to_be_visible()
    expect(alice.task("Buy mlik")).to_have_count(0)


@on_one_stack
def test_escape_cancels_the_edit_of_a_title(alice: Person):
    alice.add("Buy milk")
    alice.page.get_by_role("button", name="Edit “Buy milk”").click()
    box = alice.page.get_by_role("textbox", name="Title")
    box.fill("Something else")

    box.press("Escape")

    expect(alice.task("Buy milk")).to_be_visible()
    expect(box).to_have_count(0)


@on_one_stack
def test_undo_restores_a_deleted_task(alice: Person):
    alice.add("Buy milk")
    alice.page.get_by_role("button", name="Delete “Buy milk”").click()
    expect(alice.task("Buy milk")).to_have_count(0)

    alice.page.get_by_role("button", name="Undo").click()

    expect(alice.task("Buy milk")).to_be_visible()
    alice.reload()
    expect(alice.task("Buy milk")).to_be_visible()


@on_one_stack
def test_a_deleted_task_is_not_shown_after_a_reload(alice: Person):
    alice.add("Keep")
    alice.add("Drop")
    with alice.page.expect_response(lambda response: response.request.method == "DELETE"):
        alice.page.get_by_role("button", name="Delete “Drop”").click()

    alice.reload()

    expect(alice.task("Keep")).to_be_visible()
    expect(alice.task("Drop")).to_have_count(0)


@on_one_stack
def test_description_tags_due_date_priority_and_recurrence_are_saved_and_shown(alice: Person):
    alice.add("Pay rent")
    page = alice.page
    page.get_by_role("button", name="More about “Pay rent”").click()
    page.get_by_label("Description").fill("By bank transfer.")
    page.get_by_label("Tags").fill("home, money")
    page.get_by_label("Due date").fill("2020-01-31")
    page.get_by_label("Priority").select_option("High")
    page.get_by_label("Repeat").select_option("Monthly on the last day")
    page.get_by_role("button", name="Save").click()

    row = alice.task("Pay rent")
    expect(row).to_contain_text("High")
    expect(row).to_contain_text("home")
    expect(row).to_contain_text("Overdue")
    expect(row).to_contain_text("Monthly on the last day")
    tasks = alice.saved()
    kept = {name: tasks[0][name] for name in ("description", "tags", "due_date", "priority", "recurrence")}
    assert kept == {
        "description": "By bank transfer.",
        "tags": ["home", "money"],
        "due_date": "2020-01-31",
        "priority": "high",
        "recurrence": "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1",
    }
    page.get_by_role("button", name="More about “Pay rent”").click()
    expect(page.get_by_label("Repeat").locator("option:checked")).to_have_text("Monthly on the last day")


@on_one_stack
def test_completing_a_recurring_task_shows_its_next_occurrence(alice: Person):
    alice.add("Water the plants")
    alice.page.get_by_role("button", name="More about “Water the plants”").click()
    alice.page.get_by_label("Due date").fill("2030-01-01")
    alice.page.get_by_label("Repeat").select_option("Weekly")
    alice.page.get_by_role("button", name="Save").click()
    expect(alice.page.get_by_role("button", name="Save")).to_have_count(0)

    alice.checkbox("Water the plants").click()

    expect(alice.task("Water the plants")).to_have_count(2)


@on_one_stack
def test_the_next_task_is_due_on_the_day_of_the_browser(arrive: Arrive):
    """In one of the two zones at the ends of the world the day is another one than in UTC, at any time."""
    start = datetime.now(UTC)
    zone = "Pacific/Kiritimati" if start.hour >= 10 else "Pacific/Pago_Pago"
    anna = arrive("Anna", timezone_id=zone).sign_up()
    anna.add("Stretch")
    anna.page.get_by_role("button", name="More about “Stretch”").click()
    anna.page.get_by_label("Due date").fill("2020-01-01")
    anna.page.get_by_label("Repeat").select_option("Daily")
    anna.page.get_by_role("button", name="Save").click()
    expect(anna.page.get_by_role("button", name="Save")).to_have_count(0)

    days = [datetime.now(ZoneInfo(zone)).date().isoformat()]
    anna.checkbox("Stretch").click()
    expect(anna.task("Stretch")).to_have_count(2)

    days.append(datetime.now(ZoneInfo(zone)).date().isoformat())
    (due,) = [task["due_date"] for task in anna.saved() if not task["completed"]]
    assert due in days
    assert due != start.date().isoformat()


@on_one_stack
def test_filter_search_and_sort_select_and_order_the_list(alice: Person):
    for title in ("Bread", "apples", "Crème"):
        alice.add(title)
    alice.complete("Bread")
    page = alice.page

    page.get_by_role("radio", name="Open").click()
    expect(alice.task("Bread")).to_have_count(0)
    assert alice.titles() == ["Crème", "apples"]
    page.get_by_role("radio", name="Done").click()
    expect(alice.task("Bread")).to_be_visible()
    assert alice.titles() == ["Bread"]
    page.get_by_role("radio", name="All").click()
    expect(alice.task("apples")).to_be_visible()

    page.get_by_role("combobox", name="Sort by").select_option("Title")
    expect(page.get_by_role("list", name="Tasks", exact=True)).to_have_text(
        re.compile("apples.*Bread.*Crème", re.DOTALL)
    )
    page.get_by_role("searchbox", name="Search tasks").fill("CREME")
    expect(alice.task("apples")).to_have_count(0)
    assert alice.titles() == ["Crème"]

    alice.reload()

    expect(alice.task("Crème")).to_be_visible()
    assert alice.titles() == ["Crème"]


@on_one_stack
def test_tasks_can_be_added_completed_edited_and_deleted_with_the_keyboard(alice: Person):
    page = alice.page
    alice.add_box.focus()
    page.keyboard.type("Write a letter")
    page.keyboard.press("Enter")
    expect(alice.task("Write a letter")).to_be_visible()
    expect(alice.add_box).to_be_focused()

    _tab_to(alice, "Complete “Write a letter”")
    page.keyboard.press("Space")
    expect(alice.checkbox("Write a letter")).to_be_checked()
    _tab_to(alice, "Edit “Write a letter”")
    page.keyboard.press("Enter")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("Write two letters")
    page.keyboard.press("Enter")
    expect(alice.task("Write two letters")).to_be_visible()
    _tab_to(alice, "Delete “Write two letters”")
    page.keyboard.press("Enter")

    expect(alice.task("Write two letters")).to_have_count(0)


def _tab_to(person: Person, name: str) -> None:
    """Press Tab until the element with this name has the focus."""
    for _ in range(40):
        focused = person.page.evaluate(
            "() => document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
        )
        if focused == name:
            return
        person.page.keyboard.press("Tab")
    raise AssertionError(f"Tab did not reach {name}")


def test_two_tabs_and_two_browsers_of_one_user_show_the_same_tasks(alice: Person, arrive: Arrive):
    tab = alice.context.new_page()
    alice.watch(tab)
    tab.goto(alice.stack.url)
    elsewhere = arrive("Alice", email=alice.email).sign_in()

    alice.add("Buy milk")

    for page in (tab, elsewhere.page):
        box = page.get_by_role("checkbox", name="Complete “Buy milk”")
        expect(box).to_be_visible()
        expect(box).not_to_be_checked()
    elsewhere.complete("Buy milk")
    for page in (tab, alice.page):
        expect(page.get_by_role("checkbox", name="Complete “Buy milk”")).to_be_checked()
