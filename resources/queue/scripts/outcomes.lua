-- What has ended of what a client waits for, by its list of answers or, if A.all, by looking at everything it waits
-- for: an answer may have been lost. Returns for each {id, status, job, outcome, error, cause}; a job that Redis has
-- lost has no status.

write_although_full()
local wanted, answers = wanted_key(A.client), answers_key(A.client)
local ids = redis.call('LRANGE', answers, 0, -1)
redis.call('DEL', answers)
if A.all then ids = redis.call('SMEMBERS', wanted) end
local ended, seen = {}, {}
for _, id in ipairs(ids) do
  if not seen[id] and redis.call('SISMEMBER', wanted, id) == 1 then
    seen[id] = true
    local key = task_key(id)
    local task = redis.call('HMGET', key, 'status', 'request', 'outcome', 'error', 'cause')
    if task[1] ~= 'waiting' and task[1] ~= 'processing' then
      redis.call('EXPIRE', key, JOB_TTL_S)
      local told = {id}
      for place = 1, 5 do told[place + 1] = task[place] or '' end
      ended[#ended + 1] = told
    end
  end
end
redis.call('EXPIRE', wanted, JOB_TTL_S)
return ended
