-- Cancels a task: at once if no worker has it, else its worker is told. Returns 0 if there is no such task.

write_although_full()
local task = fields(task_key(A.id))
if not task.status then return 0 end
if task.status == 'waiting' then
  finish(A.id, task, 'cancelled', '', '')
elseif task.status == 'processing' then
  redis.call('HSET', task_key(A.id), 'cancel', '1')
  if task.holder == '' or tonumber(redis.call('ZSCORE', P .. 'leases', A.id) or 0) <= NOW then finish(A.id, task, 'cancelled', '', '') end
end
return 1
