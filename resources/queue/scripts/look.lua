-- What there is to do. Returns {waiting by lane…, processing, abandoned, oldest request's age ms, dead, bells, next
-- lease ms}.

write_although_full()
sweep(A.max_deliveries)
local soonest = redis.call('ZRANGEBYSCORE', P .. 'leases', '(' .. text(NOW), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {
  redis.call('ZCARD', P .. 'waiting:interactive'), redis.call('ZCARD', P .. 'waiting:bulk'),
  redis.call('ZCARD', P .. 'waiting:jobs'),
  redis.call('ZCOUNT', P .. 'leases', '(' .. text(NOW), '+inf'),
  redis.call('ZCOUNT', P .. 'leases', '-inf', text(NOW)),
  text(NOW - oldest_waiting(REQUESTS)), redis.call('XLEN', P .. 'dead'), bells(),
  soonest[2] and text(tonumber(soonest[2]) - NOW) or '-1',
}
