-- Ends a claimed task. Returns 1 if it has ended so by this claim, now or in a call whose answer was lost.

write_although_full()
local task = fields(task_key(A.id))
if task.status == 'processing' and task.token == A.token then
  task['gpu:' .. A.token] = A.gpu_ms
  finish(A.id, task, A.status, A.result, A.error, A.cause)
  stop_spending(task.owner)
  return 1
end
return task.ended_by == A.token and task.status == A.status and 1 or 0
