// The calls of public frontends that were written for FastAPI, made through the adapter of docs/migrating.md.
// Environment: API (URL of the service), USER (path user), TOKEN; TZ is the user's time zone.
import assert from "node:assert/strict"
import { fastApiFetch } from "../../docs/examples/fastapi-fetch.mjs"

const { API, USER, TOKEN } = process.env
const BASE = `${API}/api/${USER}/tasks`
const headers = { "Content-Type": "application/json", Authorization: `Bearer ${TOKEN}` }

/** What nearly every client has: parse JSON, and throw the `detail` of an error. */
function client(options) {
  const fetch = fastApiFetch(options)
  return async (method, path, body) => {
    const response = await fetch(`${BASE}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) })
    const data = await response.json()
    if (!response.ok) throw new Error(data.detail)
    return data
  }
}

const stories = {
  async "a list is an array, a deletion has a JSON body, and a toggle needs none"() {
    const call = client()
    const { id } = await call("POST", "", { title: "Buy milk", description: "2 l" })
    assert.equal((await call("GET", `/${id}`)).title, "Buy milk")
    assert.equal((await call("PUT", `/${id}`, { title: "Buy oat milk" })).description, "2 l")
    assert.equal((await call("PATCH", `/${id}/complete`)).completed, true)
    assert.deepEqual((await call("GET", "/")).map((task) => task.id), [id])
    assert.deepEqual(await call("DELETE", `/${id}`), { message: "Task deleted" })
    assert.deepEqual(await call("GET", ""), [])
  },

  async "a list is what the frontend reads: { tasks, total } or { data }"() {
    const { id } = await client()("POST", "", { title: "One" })
    const wrapped = client({ list: (tasks) => ({ tasks, total: tasks.length }) })
    const { tasks, total } = await wrapped("GET", "?status=pending")
    assert.deepEqual([tasks[0].id, total], [id, 1])
    assert.equal((await wrapped("GET", `/${id}`)).id, id)
    const { data } = await client({ list: (data) => ({ success: true, data }) })("GET", "")
    assert.equal(data[0].title, "One")
    await client()("DELETE", `/${id}`)
  },

  async "a category is the first tag"() {
    const call = client({ category: true })
    const made = await call("POST", "", { title: "Report", category: "Work", tags: ["urgent", "work"] })
    assert.deepEqual([made.category, made.tags], ["Work", ["urgent"]])
    const kept = await call("PUT", `/${made.id}`, { ...made, title: "The report" })
    assert.deepEqual([kept.title, kept.category, kept.tags], ["The report", "Work", ["urgent"]])
    const changed = await call("PUT", `/${made.id}`, { ...made, category: "Home" })
    assert.deepEqual([changed.category, changed.tags], ["Home", ["urgent"]])
    assert.deepEqual((await call("GET", "?category=home")).map((task) => task.category), ["Home"])
    assert.deepEqual((await client()("GET", `/${made.id}`)).tags, ["Home", "urgent"])
    assert.equal((await call("PUT", `/${made.id}`, { category: "", tags: [] })).category, null)
    await call("DELETE", `/${made.id}`)
  },

  async "tags without a category stay as they are"() {
    const call = client()
    const task = await call("POST", "", { title: "x", tags: ["a", "b"] })
    assert.deepEqual(task.tags, ["a", "b"])
    assert.ok(!("category" in task))
    await call("DELETE", `/${task.id}`)
  },

  async "priorities are lower case here, and critical and urgent are high"() {
    const call = client()
    for (const [sent, stored] of Object.entries({ High: "high", MEDIUM: "medium", low: "low", Critical: "high", urgent: "high" })) {
      const task = await call("POST", "", { title: "x", priority: sent })
      assert.equal(task.priority, stored)
      assert.equal((await call("GET", `?priority=${sent}`))[0].id, task.id)
      await call("DELETE", `/${task.id}`)
    }
    await assert.rejects(call("POST", "", { title: "x", priority: 1 }), /^Error: priority: Must be one of none, low, /)
  },

  async "a date-time becomes the user's day"() {
    const call = client()
    const expected = {
      "2026-11-21": "2026-11-21",
      "2026-11-21T00:00:00.000Z": "2026-11-21",
      "2026-11-21T00:00:00": "2026-11-21",
      "2026-11-21T23:30": "2026-11-21",
      "2026-11-21T20:00:00.000Z": process.env.TZ === "Pacific/Auckland" ? "2026-11-22" : "2026-11-21",
      "2026-11-21T02:00:00+00:00": process.env.TZ === "America/Los_Angeles" ? "2026-11-20" : "2026-11-21",
      "": null,
    }
    for (const [sent, stored] of Object.entries(expected)) {
      const task = await call("POST", "", { title: "x", due_date: sent })
      assert.equal(task.due_date, stored, sent)
      await call("DELETE", `/${task.id}`)
    }
    assert.equal((await call("POST", "", { title: "x", due_date: null })).due_date, null)
  },

  async "completed, is_completed and complete set the same member"() {
    const call = client()
    const { id } = await call("POST", "", { title: "x" })
    for (const body of [{ completed: true }, { is_completed: true }, { complete: true }]) {
      assert.equal((await call("PATCH", `/${id}/complete`, body)).completed, true)
      const [name] = Object.keys(body)
      assert.equal((await call("PATCH", `/${id}/complete`, { [name]: false })).completed, false)
    }
  },

  async "other names of parameters are translated, and unknown ones are an error that names them"() {
    const call = client()
    for (const title of ["b", "c", "a"]) await call("POST", "", { title, tags: ["letters"] })
    const titles = async (query) => (await call("GET", query)).map((task) => task.title).join("")
    assert.equal(await titles("?tags=letters&sort_by=title&sort_order=desc"), "cba")
    assert.equal(await titles("?search=B&filter=pending&tags=letters"), "b")
    await assert.rejects(call("GET", "?page=2"), /^Error: page: Is not known here: follow the URL in `Link`/)
    await assert.rejects(call("GET", "?url_user_id=1"), /^Error: url_user_id: Is not known here/)
  },

  async "an error has a detail that can be shown"() {
    const call = client()
    await assert.rejects(call("POST", "", { title: "" }), /^Error: title: Must have 1 to 200 characters/)
    await assert.rejects(call("POST", "", { title: "x", recurring: "daily" }), /^Error: recurring: Is not known here/)
    await assert.rejects(call("GET", "/undefined"), /^Error: The id of a task is a whole number/)
    await assert.rejects(call("GET", "/999999"), /^Error: You have no task of this id/)
  },
}

for (const [name, story] of Object.entries(stories)) {
  await story().catch((error) => {
    console.error(`${name}:\n${error.stack}`)
    process.exitCode = 1
  })
}
