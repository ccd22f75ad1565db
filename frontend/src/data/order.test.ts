import { afterAll, beforeAll, expect, test } from "vitest"
import { OpenPage } from "@/testing/openPage"
import { TaskService } from "@/testing/taskService"
import { compareTasks, matchesFilters } from "./order"
import type { Filters, Task } from "./task"

const service = new TaskService()
let page: OpenPage
let tasks: Task[]

beforeAll(async () => {
  await service.start()
  page = await OpenPage.open(service.port)
  const titles = [
    "Éclair",
    "eclair",
    "STRASSE",
    "Straße",
    "Ångström",
    "ﬁne",
    "zebra",
    "42",
    "タスク",
    "が",
    "Łódź",
    "“Øl” – l’été",
    "שָׁלוֹם",
  ]
  const dates = [null, "2030-01-02", "2030-01-01"]
  const times = ["10:00", null, "09:00"]
  await page.api.POST("/api/{user_id}/import", {
    params: { path: { user_id: page.userId } },
    body: {
      tasks: Array.from({ length: 40 }, (_, index) => ({
        title: titles[index % titles.length] ?? "",
        description: index % 3 ? null : "Crème brûlée\nfor two",
        completed: index % 4 === 0,
        priority: (["none", "high", "low", "medium"] as const)[index % 4] ?? "none",
        due_date: dates[index % 3] ?? null,
        due_time: dates[index % 3] ? (times[(index >> 2) % 3] ?? null) : null,
      })),
    },
  })
  tasks = await page.stored()
}, 90_000)

afterAll(async () => {
  await page.close()
  service.stop()
})

const SORTS: Filters["sort"][] = ["-created_at", "created_at", "due", "-priority", "title"]

test.each(SORTS)("compareTasks sorts tasks as the API does: %s", async (sort) => {
  const list = await page.client.fetchInfiniteQuery(page.data.list({ show: "all", search: "", sort }))
  const here = tasks.toSorted((one, other) => compareTasks(one, other, sort))
  expect(here.map(({ id }) => id)).toEqual(list.pages[0]?.tasks.map(({ id }) => id))
  expect(here).toHaveLength(40)
})

test.each([
  "ECLAIR",
  "strasse",
  "fine",
  "brulee",
  "か",
  "が",
  "nothing like it",
  "2",
  "lodz",
  '"ol" - l\'ete',
  "שלום",
])("matchesFilters finds the tasks that the API finds: %j", async (search) => {
  for (const show of ["all", "open", "done"] as const) {
    const list = await page.client.fetchInfiniteQuery(page.data.list({ show, search, sort: "created_at" }))
    const here = tasks.filter((task) => matchesFilters(task, { show, search })).map(({ id }) => id)
    expect(here.toSorted((one, other) => one - other)).toEqual(list.pages[0]?.tasks.map(({ id }) => id))
  }
})

test("a draft is newer than all stored tasks, and a later draft newer still", () => {
  const [task] = tasks as [Task]
  const [earlier, later] = [
    { ...task, id: -1 },
    { ...task, id: -2 },
  ]
  expect(compareTasks(task, earlier, "created_at")).toBe(-1)
  expect(compareTasks(earlier, later, "created_at")).toBe(-1)
  expect(compareTasks(earlier, later, "-created_at")).toBe(1)
})
