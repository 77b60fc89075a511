-- POSTs one new document of about 310 bytes a request. Arguments: path, bearer token or "-".
local body = '{"fields":{"title":"%s","body":"%s","author":"%s","score":%d,"ratio":0.%d,"tags":["one","two","three"],"place":{"city":"Zürich","zip":"8001"},"public":true}}'
local counter = 0
local path, author
local text = string.rep("lorem ipsum ", 12)

function init(args)
  path = args[1]
  author = args[3]
  wrk.headers["Content-Type"] = "application/json"
  if args[2] ~= "-" then wrk.headers["Authorization"] = "Bearer " .. args[2] end
  math.randomseed(os.time())
end

function request()
  counter = counter + 1
  return wrk.format("POST", path, nil,
    string.format(body, "title " .. counter, text, author, math.random(0, 999999), math.random(1, 999)))
end
-- Prints wrk's summary as one JSON line.
function done(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout
  io.write(string.format('\nJSON {"requests":%d,"seconds":%.4f,"failed":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
