-- Records how far claimed tasks are; never backwards, never of a task that is not the worker's any more. Returns {ids
-- of those that are cancelled, of those whose previews somebody watches}. Told so often, it is not written to disk: after
-- a restart of Redis a task is as far as its worker says next.

write_although_full()
redis.set_repl(redis.REPL_NONE)
local cancelled, watched = {}, {}
for _, step in ipairs(A.steps) do
  local key = task_key(step[1])
  local status, token, progress, job, cancel =
    unpack(redis.call('HMGET', key, 'status', 'token', 'progress', 'job', 'cancel'))
  if status == 'processing' and token == step[2] then
    if cancel then cancelled[#cancelled + 1] = step[1] end
    if redis.call('EXISTS', P .. 'watched:' .. step[1]) == 1 then watched[#watched + 1] = step[1] end
    redis.call('HSET', key, 'gpu:' .. token, step[4])
    if tonumber(progress) < step[3] then
      redis.call('HSET', key, 'progress', step[3], 'updated', text(NOW))
      changed(step[1], {job = job})
    end
  end
end
return {cancelled, watched}
