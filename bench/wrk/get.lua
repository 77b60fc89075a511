-- GETs one of the seeded documents. Arguments: path prefix, bearer token or "-", number of documents.
local prefix, count

function init(args)
  prefix = args[1]
  count = tonumber(args[3])
  if args[2] ~= "-" then wrk.headers["Authorization"] = "Bearer " .. args[2] end
  math.randomseed(os.time())
end

function request()
  return wrk.format("GET", prefix .. "seed" .. math.random(0, count - 1))
end
-- Prints wrk's summary as one JSON line.
function done(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout
  io.write(string.format('\nJSON {"requests":%d,"seconds":%.4f,"failed":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
