-- Each request has an Idempotency-Key of its own; anything but 201 counts as an error.
local seed, count, threads = os.getenv("BENCH_SEED"), 0, {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init()
  headers = {
    ["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY"),
    ["Content-Type"] = "application/json",
  }
  refused = 0
end

function request()
  count = count + 1
  headers["Idempotency-Key"] = seed .. "-" .. number .. "-" .. count
  return wrk.format("POST", "/create_transaction", headers, '{"amount": "100.00"}')
end

function response(status)
  if status ~= 201 then refused = refused + 1 end
end

function done(summary, latency)
  local refusals = 0
  for _, thread in ipairs(threads) do refusals = refusals + thread:get("refused") end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "microseconds": %d, "refused": %d, "failed": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration, refusals,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
