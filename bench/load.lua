-- What one connection of wrk sends. Each thread has one connection and a state of its own, so a session stays with
-- one connection, and a number of requests ends exactly: nothing is under way when the processes' time is read.
-- wrk itself knows durations only, so each connection tells when it begins and ends (measure.py stops wrk then).
local threads, number, steps, prepared, tags = 0, 0, nil, {}, {}
local position, left, begun

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

-- args: the file of the steps, how many requests to send.
function init(args)
  local all = dofile(args[1])
  steps = all[number % #all + 1]
  left = tonumber(args[2])
  -- One after another, and each connection begins elsewhere; a session begins at its beginning.
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
