const PARAMETERS = { filter: "status", tags: "tag", category: "tag", sort_by: "sort", sort_order: "order" }
const PRIORITIES = { critical: "high", urgent: "high" }

/**
 * Return a `fetch` of the task API for a frontend written for FastAPI. `list` makes what it reads of the array of a list;
 * with `category` the first tag is the member `category`.
 */
export function fastApiFetch({ fetch = globalThis.fetch, list = (tasks) => tasks, category = false } = {}) {
  return async (input, { body, ...options } = {}) => {
    const url = new URL(input, globalThis.location?.href)
    const query = [...url.searchParams].map(([name, value]) => [PARAMETERS[name] ?? name, value])
    url.search = new URLSearchParams(query.map(([name, value]) => [name, name === "priority" ? level(value) : value]))
    const response = await fetch(url, body ? { ...options, body: JSON.stringify(toTask(JSON.parse(body))) } : options)
    if (response.status === 204) return Response.json({ message: "Task deleted" })
    if (!response.ok) return response
    const data = await response.json()
    const fromTask = ({ tags: [first = null, ...tags], ...task }) => ({ ...task, category: first, tags })
    const tasks = category ? [data].flat().map(fromTask) : [data].flat()
    return Response.json(Array.isArray(data) ? list(tasks) : tasks[0], response)
  }
}

const level = (priority) => PRIORITIES[priority.toLowerCase()] ?? priority.toLowerCase()

/** Return the day of a date-time in the user's time zone. Midnight in UTC is how many send a day, so its date is kept. */
function toDay(text) {
  if (!/T.*(Z|[+-]\d\d:?\d\d)$/.test(text) || /T00:00(:00(\.0+)?)?(Z|\+00:?00)$/.test(text)) return text.slice(0, 10)
  return new Date(text).toLocaleDateString("sv-SE") // the Swedish format is YYYY-MM-DD
}

function toTask({ category, is_completed, complete, ...task }) {
  if (typeof task.priority === "string") task.priority = level(task.priority)
  if (typeof task.due_date === "string") task.due_date = toDay(task.due_date) || null
  const others = (task.tags ?? []).filter((tag) => tag.toLowerCase() !== category?.toLowerCase())
  if (category !== undefined) task.tags = category ? [category, ...others] : others
  return { completed: is_completed ?? complete, ...task } // JSON leaves undefined out
}
