-- Cancels a task: at once if no worker has it, else its worker is told. Returns 0 if there is no such task.

write_although_full()
local task = fields(task_key(A.id))
if not task.status then return 0 end
cancel(A.id, task)
return 1
