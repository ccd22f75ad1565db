-- The requests of one wrk connection. Each thread has one connection and its own Lua state, so that a session stays on
-- one connection, and exactly the given number of requests is sent: none is in progress when CPU times are read.
-- wrk itself only supports durations, so each connection prints when it starts and ends, and measure.py then stops wrk.
--
-- With an interval, requests are due at fixed times (open loop): one that cannot be sent in time, because the response
-- before it is late, counts from when it was due, so that a service that stalls is not measured less often.
local ffi = require("ffi")
ffi.cdef[[
  typedef struct { long seconds; long nanoseconds; } clock_time;
  int clock_gettime(int clock, clock_time *time);
]]
local CLOCK_MONOTONIC = 1
local clock = ffi.new("clock_time")

-- `number` is global, because setup() runs in wrk's main state and sets it in the state of each thread. A local variable of
-- this name would be 0 in all threads: every connection would then begin with the same user and wait for its row's lock.
local threads, steps, prepared, tags = 0, nil, {}, {}
local position, left, begun
local interval, folder, due, sent, waited, latencies = 0, nil, nil, 0, false, {}

-- Milliseconds.
local function now()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, clock)
  return tonumber(clock.seconds) * 1e3 + tonumber(clock.nanoseconds) / 1e6
end

-- Milliseconds until the next request is due; wrk calls it before each request if it is named `delay`.
local function time_until_due()
  due = due and due + interval or now() + interval * number / 16
  local rest = due - now()
  waited = rest > 0
  return waited and math.ceil(rest) or 0
end

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

-- args: the file with the plans, the number of requests to send, the milliseconds between two requests (0: closed loop)
-- and the folder for a file of latencies.
function init(args)
  local all = dofile(args[1])
  interval, folder = tonumber(args[3] or 0), args[4]
  if interval > 0 then
    delay = time_until_due
  end
  steps = all[number % #all + 1]
  left = tonumber(args[2])
  -- Connections that share a plan start at different steps; a session starts at its first step.
  position = all.session and 0 or math.floor(#steps * number / 16)
  for index, step in ipairs(steps) do
    prepared[index] = wrk.format(step.method, step.path, step.headers, step.body)
  end
end

function request()
  if not begun then
    begun = true
    io.stderr:write("begin\n")
  end
  position = position % #steps + 1
  local step = steps[position]
  -- wrk's timer has milliseconds: after a wait the request counts from when it was sent.
  sent = (interval > 0 and not waited) and due or now()
  if step.poll and tags[step.path] then
    step.headers["If-None-Match"] = tags[step.path]
    return wrk.format(step.method, step.path, step.headers, step.body)
  end
  return prepared[position]
end

function response(status, headers, body)
  latencies[#latencies + 1] = now() - sent
  local step = steps[position]
  if status == 200 and step.keeps then
    tags[step.path] = headers["ETag"] or headers["etag"]
  end
  left = left - 1
  if left == 0 then
    if folder then
      local file = assert(io.open(folder .. "/" .. number, "w"))
      file:write(table.concat(latencies, "\n"))
      file:close()
    end
    io.stderr:write("end\n")
    wrk.thread:stop()
  end
end

function done(summary, latency, requests)
  local failed = summary.errors
  print(string.format(
    '{"requests": %d, "bytes": %d, "failed": %d, "p50": %d, "p99": %d}',
    summary.requests, summary.bytes,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout,
    latency:percentile(50), latency:percentile(99)
  ))
end
