-- A callback was delivered or given up, or is to be tried again in A.retry_ms (not ''), unless another has it by now.

write_although_full()
local key = P .. 'callback:' .. A.id
if A.retry_ms == '' then
  redis.call('ZREM', P .. 'callbacks', A.id)
  redis.call('DEL', key)
elseif tonumber(redis.call('HGET', key, 'attempt') or -1) == A.attempt then
  redis.call('ZADD', P .. 'callbacks', 'XX', text(NOW + A.retry_ms), A.id)
end
return 1
