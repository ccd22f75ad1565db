// The task API as the documentation of Fastify and its plugins teaches it: schemas for what comes in and what goes out.
'use strict'

const cluster = require('node:cluster')
const pg = require('pg')
const Fastify = require('fastify')

// By default a bigint is a string and a date becomes midnight in local time.
pg.types.setTypeParser(pg.types.builtins.INT8, Number)
pg.types.setTypeParser(pg.types.builtins.DATE, (value) => value)

const text = { type: 'string' }
const textOrNull = { type: 'string', nullable: true }
const integer = { type: 'integer' }
const integerOrNull = { type: 'integer', nullable: true }
const instant = { type: 'string', format: 'date-time' }
const instantOrNull = { type: 'string', format: 'date-time', nullable: true }

const taskOut = {
  $id: 'task',
  type: 'object',
  properties: {
    id: integer,
    user_id: text,
    title: text,
    description: textOrNull,
    completed: { type: 'boolean' },
    completed_at: instantOrNull,
    priority: text,
    tags: { type: 'array', items: text },
    due_date: textOrNull,
    due_time: textOrNull,
    time_zone: textOrNull,
    due_at: instantOrNull,
    recurrence: textOrNull,
    repeat_from: text,
    series_id: integerOrNull,
    next_task_id: integerOrNull,
    position: text,
    version: integer,
    created_at: instant,
    updated_at: instant,
    deleted_at: instantOrNull
  }
}

const MEMBERS = Object.keys(taskOut.properties).join(', ')

const taskIn = {
  type: 'object',
  required: ['title'],
  additionalProperties: false,
  properties: {
    title: { type: 'string', minLength: 1, maxLength: 200 },
    description: { type: 'string', maxLength: 10_000, nullable: true },
    priority: { type: 'string', enum: ['none', 'low', 'medium', 'high'], default: 'none' },
    tags: { type: 'array', maxItems: 20, items: { type: 'string', maxLength: 50 }, default: [] },
    due_date: { type: 'string', format: 'date', nullable: true }
  }
}

const listQuery = {
  type: 'object',
  properties: { limit: { type: 'integer', minimum: 1, maximum: 1000, default: 1000 } }
}

const ofTask = {
  type: 'object',
  properties: { user_id: text, id: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER } }
}

async function tasks (fastify) {
  fastify.addHook('onRequest', async (request, reply) => {
    await request.jwtVerify()
    if (request.user.sub !== request.params.user_id) return reply.code(403).send({ error: 'Not your tasks' })
  })

  const notFound = (reply) => reply.code(404).send({ error: 'Task not found' })

  fastify.get('/', {
    schema: { querystring: listQuery, response: { 200: { type: 'array', items: { $ref: 'task#' } } } }
  }, async (request) => {
    const { rows } = await fastify.pg.query(
      `SELECT ${MEMBERS} FROM tasks WHERE user_id = $1 ORDER BY id DESC LIMIT $2`,
      [request.params.user_id, request.query.limit]
    )
    return rows
  })

  fastify.get('/:id', {
    schema: { params: ofTask, response: { 200: { $ref: 'task#' } } }
  }, async (request, reply) => {
    const { rows } = await fastify.pg.query(
      `SELECT ${MEMBERS} FROM tasks WHERE user_id = $1 AND id = $2`,
      [request.params.user_id, request.params.id]
    )
    return rows.length === 0 ? notFound(reply) : rows[0]
  })

  fastify.post('/', {
    schema: { body: taskIn, response: { 201: { $ref: 'task#' } } }
  }, async (request, reply) => {
    const { title, description, priority, tags, due_date: dueDate } = request.body
    const { rows } = await fastify.pg.query(
      `INSERT INTO tasks (user_id, title, description, priority, tags, due_date)
       VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${MEMBERS}`,
      // node-postgres makes an array of PostgreSQL of an array; jsonb wants JSON.
      [request.params.user_id, title, description, priority, JSON.stringify(tags), dueDate]
    )
    return reply.code(201).send(rows[0])
  })

  fastify.patch('/:id/complete', {
    schema: { params: ofTask, response: { 200: { $ref: 'task#' } } }
  }, async (request, reply) => {
    const { rows } = await fastify.pg.query(
      `UPDATE tasks SET completed = NOT completed, completed_at = CASE WHEN completed THEN NULL ELSE now() END,
         updated_at = now(), version = version + 1
       WHERE user_id = $1 AND id = $2 RETURNING ${MEMBERS}`,
      [request.params.user_id, request.params.id]
    )
    return rows.length === 0 ? notFound(reply) : rows[0]
  })
}

async function serve () {
  const { BETTER_AUTH_SECRET, DATABASE_URL, PORT } = process.env
  // By default Fastify takes away what a schema does not name; here it is refused, as by the others.
  const fastify = Fastify({ ajv: { customOptions: { removeAdditional: false } } })
  fastify.register(require('@fastify/jwt'), { secret: BETTER_AUTH_SECRET, verify: { algorithms: ['HS256'] } })
  fastify.register(require('@fastify/postgres'), { connectionString: DATABASE_URL, max: 8 })
  fastify.register(require('@fastify/etag'))
  fastify.addSchema(taskOut)
  fastify.register(tasks, { prefix: '/api/:user_id/tasks' })
  await fastify.listen({ port: Number(PORT), host: '127.0.0.1' })
}

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.env.WEB_CONCURRENCY); i++) cluster.fork()
} else {
  serve()
}
