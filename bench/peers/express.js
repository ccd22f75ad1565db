// The task API as the documentation of Express, node-postgres and zod teaches it.
'use strict'

const cluster = require('node:cluster')
const express = require('express')
const jwt = require('jsonwebtoken')
const pg = require('pg')
const { z } = require('zod')

// By default a bigint is a string and a date becomes midnight in local time.
pg.types.setTypeParser(pg.types.builtins.INT8, Number)
pg.types.setTypeParser(pg.types.builtins.DATE, (value) => value)

const MEMBERS = `id, user_id, title, description, completed, completed_at, priority, tags, due_date, due_time, time_zone,
  due_at, recurrence, repeat_from, series_id, next_task_id, position, version, created_at, updated_at, deleted_at`

const TaskIn = z.strictObject({
  title: z.string().min(1).max(200),
  description: z.string().max(10_000).nullable().default(null),
  priority: z.enum(['none', 'low', 'medium', 'high']).default('none'),
  tags: z.array(z.string().max(50)).max(20).default([]),
  due_date: z.iso.date().nullable().default(null)
})

const ListQuery = z.object({ limit: z.coerce.number().int().min(1).max(1000).default(1000) })

const TaskId = z.coerce.number().int().positive()

function serve () {
  const { BETTER_AUTH_SECRET, DATABASE_URL, PORT } = process.env
  const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 8 })
  const app = express()

  const authenticate = (req, res, next) => {
    const [scheme, token] = (req.get('Authorization') ?? '').split(' ')
    if (scheme !== 'Bearer' || !token) return res.status(401).json({ error: 'A token is needed' })
    let claims
    try {
      claims = jwt.verify(token, BETTER_AUTH_SECRET, { algorithms: ['HS256'] })
    } catch {
      return res.status(401).json({ error: 'The token is not valid' })
    }
    if (claims.sub !== req.params.user_id) return res.status(403).json({ error: 'Not your tasks' })
    next()
  }

  const notFound = (res) => res.status(404).json({ error: 'Task not found' })

  const tasks = express.Router({ mergeParams: true })
  tasks.use(authenticate, express.json())

  tasks.get('/', async (req, res) => {
    const query = ListQuery.safeParse(req.query)
    if (!query.success) return res.status(422).json({ error: query.error.issues })
    const { rows } = await pool.query(
      `SELECT ${MEMBERS} FROM tasks WHERE user_id = $1 ORDER BY id DESC LIMIT $2`,
      [req.params.user_id, query.data.limit]
    )
    res.json(rows)
  })

  tasks.get('/:id', async (req, res) => {
    const id = TaskId.safeParse(req.params.id)
    if (!id.success) return notFound(res)
    const { rows } = await pool.query(
      `SELECT ${MEMBERS} FROM tasks WHERE user_id = $1 AND id = $2`,
      [req.params.user_id, id.data]
    )
    if (rows.length === 0) return notFound(res)
    res.json(rows[0])
  })

  tasks.post('/', async (req, res) => {
    const task = TaskIn.safeParse(req.body)
    if (!task.success) return res.status(422).json({ error: task.error.issues })
    const { title, description, priority, tags, due_date: dueDate } = task.data
    const { rows } = await pool.query(
      `INSERT INTO tasks (user_id, title, description, priority, tags, due_date)
       VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${MEMBERS}`,
      // node-postgres makes an array of PostgreSQL of an array; jsonb wants JSON.
      [req.params.user_id, title, description, priority, JSON.stringify(tags), dueDate]
    )
    res.status(201).json(rows[0])
  })

  tasks.patch('/:id/complete', async (req, res) => {
    const id = TaskId.safeParse(req.params.id)
    if (!id.success) return notFound(res)
    const { rows } = await pool.query(
      `UPDATE tasks SET completed = NOT completed, completed_at = CASE WHEN completed THEN NULL ELSE now() END,
         updated_at = now(), version = version + 1
       WHERE user_id = $1 AND id = $2 RETURNING ${MEMBERS}`,
      [req.params.user_id, id.data]
    )
    if (rows.length === 0) return notFound(res)
    res.json(rows[0])
  })

  app.use('/api/:user_id/tasks', tasks)

  // Four parameters make it the handler of errors; the default one answers HTML.
  app.use((error, req, res, next) => {
    if (res.headersSent) return next(error)
    const status = error.status ?? 500
    if (status >= 500) console.error(error)
    res.status(status).json({ error: status < 500 ? error.message : 'Internal server error' })
  })

  app.listen(Number(PORT), '127.0.0.1', (error) => {
    if (error) throw error
  })
}

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.env.WEB_CONCURRENCY); i++) cluster.fork()
} else {
  serve()
}
