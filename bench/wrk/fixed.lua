-- Sends the same request again and again. Arguments: method, path, bearer token or "-", body or "-".
local whole

function init(args)
  local body = args[4] ~= "-" and args[4] or nil
  wrk.headers["Content-Type"] = "application/json"
  if args[3] ~= "-" then wrk.headers["Authorization"] = "Bearer " .. args[3] end
  whole = wrk.format(args[1], args[2], nil, body)
end

function request()
  return whole
end
-- Prints wrk's summary as one JSON line.
function done(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout
  io.write(string.format('\nJSON {"requests":%d,"seconds":%.4f,"failed":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
