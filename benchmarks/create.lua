-- Requests of wrk: each has an Idempotency-Key, an amount and a reference of its own.
-- Arguments: API key, prefix that no other round uses. Prints one line of JSON at the end.
-- There is no `response` function: with one, wrk hands every answer to Lua. The rows in the
-- database tell whether the answers were true.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(args)
  prefix = args[2] .. "-" .. number .. "-"
  count = 0
  headers = {
    ["Authorization"] = "Bearer " .. args[1],
    ["Content-Type"] = "application/json",
  }
end

function request()
  count = count + 1
  headers["Idempotency-Key"] = prefix .. count
  local body = string.format(
    '{"amount": "%d.%02d", "currency": "RUB", "reference": "order-%d"}',
    1 + count % 5000, count % 100, count)
  return wrk.format("POST", "/create_transaction", headers, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nresult {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, '
      .. '"refused": %d, "broken": %d, "timeouts": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
