-- A client waits for jobs no more: for A.ids or, without, for any. Those that nobody waits for are forgotten if they
-- have ended, and cancelled if not.

write_although_full()
local wanted = wanted_key(A.client)
for _, id in ipairs(A.ids or redis.call('SMEMBERS', wanted)) do
  redis.call('SREM', wanted, id)
  redis.call('SREM', waiters_key(id), A.client)
  if redis.call('SCARD', waiters_key(id)) == 0 then
    local task = fields(task_key(id))
    if task.status == 'waiting' or task.status == 'processing' then
      cancel(id, task)
    else
      redis.call('DEL', task_key(id))
    end
  end
end
if not A.ids then redis.call('DEL', wanted, answers_key(A.client)) end
return 1
