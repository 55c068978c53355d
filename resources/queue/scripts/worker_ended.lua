-- Ends the leases of a worker that is known to be dead, so that others need not wait for their time, and forgets it.
-- Returns how many there were.

write_although_full()
local ended = 0
for _, id in ipairs(redis.call('ZRANGE', P .. 'leases', 0, -1)) do
  if redis.call('HGET', task_key(id), 'holder') == A.worker then
    redis.call('ZADD', P .. 'leases', text(NOW), id)
    ended = ended + 1
  end
end
sweep(A.max_deliveries)
forget(A.worker)
ring()
return ended
