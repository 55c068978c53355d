-- Shows a preview of a claimed task, until it ends or a minute is over.

local KEPT_S = 60

write_although_full()
local status, token = unpack(redis.call('HMGET', task_key(A.id), 'status', 'token'))
if status ~= 'processing' or token ~= A.token then return 0 end
redis.call('HSET', previews_key(A.id), A.number, A.preview)
redis.call('EXPIRE', previews_key(A.id), KEPT_S)
redis.call('HINCRBY', task_key(A.id), 'previews', 1)
changed(A.id, {})
return 1
