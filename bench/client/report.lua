-- As many requests in flight as the argument behind "--" says; without one wrk's own way, one at a time.
init = function(args)
  if not args[1] then return end
  local all = string.rep(wrk.format(), tonumber(args[1]))
  request = function() return all end
end

-- wrk's result as one line of JSON. No function per answer: that would be paid for each.
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"bytes":%d,"seconds":%.6f,"errors":%d,"p50us":%d,"p99us":%d}\n',
    summary.requests, summary.bytes, summary.duration / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
