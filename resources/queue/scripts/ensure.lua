-- Sees to it that picture jobs are done: each that nobody does begins, and the client waits for all of them.
-- One that has succeeded is answered at once, unless A.anew; one that has failed is tried again for who comes later.
-- An answer that was lost changes nothing: the client waits already.

local begun = false
for _, new in ipairs(A.jobs) do
  local id, key = new.id, task_key(new.id)
  local is_new = redis.call('SADD', waiters_key(id), A.client) == 1
  redis.call('SADD', wanted_key(A.client), id)
  local status = redis.call('HGET', key, 'status')
  if status == 'processing' then
    redis.call('HDEL', key, 'cancel')
  elseif status == 'success' and not A.anew or status == 'failed' and not (A.anew or is_new) then
    redis.call('EXPIRE', key, JOB_TTL_S)
    redis.call('EXPIRE', waiters_key(id), JOB_TTL_S)
    answer(A.client, id)
  elseif status ~= 'waiting' then
    begin_job(id, A.owner, new.job)
    begun = true
  end
end
redis.call('EXPIRE', wanted_key(A.client), JOB_TTL_S)
if begun then ring('jobs') end
return 1
