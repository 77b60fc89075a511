-- Sends the requests that a file describes, one after the other, over and over. Argument: that file,
-- written by bench/peers/wrk.py.
--
-- Pieces of a path or body: a string as it is; "n" the request's number; "id" the document whose
-- number that is, modulo `count`; "any" a document at random, "author" an author, "bound" a score.
local ffi = require("ffi")
ffi.cdef([[
  typedef struct { long s; long us; } baas_time;
  int gettimeofday(baas_time *time, void *zone);
  int getpid(void);
  int kill(int pid, int signal);
]])
local INTERRUPT = 2

local spec, number, place, due
local clock = ffi.new("baas_time")

local function now()
  ffi.C.gettimeofday(clock, nil)
  return tonumber(clock.s) * 1000 + tonumber(clock.us) / 1000
end

local function fill(pieces)
  if not pieces then return nil end
  local out = {}
  for index = 1, #pieces do
    local piece = pieces[index]
    if piece[1] == "n" then
      out[index] = tostring(number)
    elseif piece[1] == "id" then
      out[index] = string.format(spec.id, number % spec.count)
    elseif piece[1] == "any" then
      out[index] = string.format(spec.id, math.random(0, spec.count - 1))
    elseif piece[1] == "author" then
      out[index] = string.format(spec.author, math.random(1, 99))
    elseif piece[1] == "bound" then
      out[index] = tostring(math.random(spec.bounds[1], spec.bounds[2]))
    else
      out[index] = piece[2]
    end
  end
  return table.concat(out)
end

function init(args)
  spec = dofile(args[1])
  number, place, due = spec.first - 1, 0, 0  -- wrk asks for one request that it does not send
  math.randomseed(spec.seed)
  for _, request in ipairs(spec.requests) do
    if request.fixed then
      request.whole = wrk.format(request.method, fill(request.path), request.headers, fill(request.body))
    end
  end
  if spec.rate > 0 then
    -- Wrk asks for a delay only where there is this function.
    function delay()
      local time = now()
      due = math.max(due + 1000 / spec.rate, time - 200)
      return math.max(0, due - time)
    end
  end
end

function request()
  place = place % #spec.requests + 1
  local chosen = spec.requests[place]
  local text = chosen.whole
  if text == nil then
    text = wrk.format(chosen.method, fill(chosen.path), chosen.headers, fill(chosen.body))
  end
  if spec.last > 0 and number >= spec.last then
    wrk.thread:stop()
    ffi.C.kill(ffi.C.getpid(), INTERRUPT)  -- else wrk would sleep to the end of its time
  else
    number = number + 1
  end
  return text
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nJSON {"answers":%d,"bytes":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.bytes, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
