-- The requests of one wrk connection. Each thread has one connection and its own Lua state, so that a session stays on
-- one connection, and exactly the given number of requests is sent: none is in progress when CPU times are read.
-- wrk itself only supports durations, so each connection prints when it starts and ends, and measure.py then stops wrk.
local threads, number, steps, prepared, tags = 0, 0, nil, {}, {}
local position, left, begun

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

-- args: the file with the plans, the number of requests to send.
function init(args)
  local all = dofile(args[1])
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
  if step.poll and tags[step.path] then
    step.headers["If-None-Match"] = tags[step.path]
    return wrk.format(step.method, step.path, step.headers, step.body)
  end
  return prepared[position]
end

function response(status, headers, body)
  local step = steps[position]
  if status == 200 and step.keeps then
    tags[step.path] = headers["ETag"] or headers["etag"]
  end
  left = left - 1
  if left == 0 then
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
