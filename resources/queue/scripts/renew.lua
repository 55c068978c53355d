-- A heartbeat: keeps a worker alive and its claims its own. Returns {ids lost, ids cancelled}.

write_although_full()
local lost, cancelled = {}, {}
for _, claim in ipairs(A.claims) do
  local id = claim[1]
  local status, token, holder, returned, cancel =
    unpack(redis.call('HMGET', task_key(id), 'status', 'token', 'holder', 'returned', 'cancel'))
  if status ~= 'processing' or token ~= claim[2] or returned then
    lost[#lost + 1] = id
  else
    if holder == '' then -- the lease had ended, but nobody was there to take over
      redis.call('HSET', task_key(id), 'holder', A.worker)
      redis.call('HINCRBY', P .. 'held', A.worker, 1)
    end
    redis.call('ZADD', P .. 'leases', text(NOW + A.lease_ms), id)
    if cancel then cancelled[#cancelled + 1] = id end
  end
end
redis.call('HSET', P .. 'worker_states', A.worker, A.state)
redis.call('ZADD', P .. 'workers', text(NOW + A.lease_ms), A.worker)
redis.call('PEXPIRE', P .. 'workers', 2 * A.lease_ms)
redis.call('PEXPIRE', P .. 'worker_states', 2 * A.lease_ms)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', text(NOW))) do
  forget(gone)
end
sweep(A.max_deliveries)
return {lost, cancelled}
