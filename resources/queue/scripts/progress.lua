-- Records how far claimed tasks are; never backwards, never of a task that is not the worker's any more.

write_although_full()
for _, step in ipairs(A.steps) do
  local key = task_key(step[1])
  local status, token, progress, job = unpack(redis.call('HMGET', key, 'status', 'token', 'progress', 'job'))
  if status == 'processing' and token == step[2] and tonumber(progress) < step[3] then
    redis.call('HSET', key, 'progress', step[3], 'updated', text(NOW))
    changed(step[1], {job = job})
  end
end
return 1
