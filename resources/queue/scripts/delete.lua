-- Forgets an ended request: its record, its place in its owner's list, its idempotency key and its callback.
-- Returns 'deleted', 'open' if it has not ended, or 'unknown'.

write_although_full()
local task = fields(task_key(A.id))
if not task.status or task.job then return 'unknown' end
if task.status == 'waiting' or task.status == 'processing' then return 'open' end
redis.call('DEL', task_key(A.id), P .. 'caller:' .. A.id, P .. 'callback:cb_' .. A.id)
redis.call('ZREM', P .. 'callbacks', 'cb_' .. A.id)
redis.call('ZREM', P .. 'owned:' .. task.owner, A.id)
if task.once ~= '' then redis.call('DEL', task.once) end
count_kept(task.owner, 'tasks', -1, tonumber(task.created))
changed(A.id, task)
return 'deleted'
