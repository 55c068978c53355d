-- What every script shares. Each runs as one step: nobody sees a half-made change.
-- Times are milliseconds by the clock of Redis; TTL and limits come with the arguments.

local P = KEYS[1]
local A = cjson.decode(ARGV[1])
local GROUP = 'serving'
-- Picture jobs of catalogs wait beside the bulk requests of users, whose owners they take turns with.
local LANES = {'interactive', 'bulk', 'jobs'}
local REQUESTS = {'interactive', 'bulk'}
local TURNS = {interactive = 'interactive', bulk = 'bulk', jobs = 'bulk'}
local JOB_TTL_S = 3600 -- of an ended job that nobody collects, and of what is kept of a client that is gone
local SWEPT_AT_ONCE = 500
local DEAD_LETTERS_KEPT = 1000
local DEAD_LETTERS_TTL_S = 30 * 24 * 3600

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local NOW = now_ms()

-- Lets the script write in a Redis whose memory is full: only its first write must not need any. What was accepted is
-- done and forgotten as ever, so that the memory empties; only new requests are refused.
local function write_although_full()
  redis.call('DEL', P .. 'check')
end

local function text(number)
  return string.format('%.0f', number)
end

local function task_key(id) return P .. 'task:' .. id end
local function previews_key(id) return P .. 'previews:' .. id end
local function batch_key(id) return P .. 'batch:' .. id end
local function stream_key(lane, owner) return P .. 'lane:' .. lane .. ':' .. owner end

local function fields(key)
  local flat, map = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end

-- Tells those who watch requests. Jobs are told to those who wait for them, when they end.
local function changed(id, task)
  if not task.job then redis.call('PUBLISH', P .. 'changes', id) end
end

local BELLS = {'bell', 'bell:bulk'}

-- Wakes everyone who waits for work of a lane; of any, without one.
local function ring(lane)
  for _, name in ipairs(BELLS) do
    if not lane or (TURNS[lane] == 'bulk') == (name == 'bell:bulk') then
      redis.call('XADD', P .. name, 'MAXLEN', '1', '*', 'rung', '1')
    end
  end
end

-- When each of the bells was last rung.
local function bells()
  local rung = {}
  for place, name in ipairs(BELLS) do
    local last = redis.call('XREVRANGE', P .. name, '+', '-', 'COUNT', 1)
    rung[place] = last[1] and last[1][1] or '0-0'
  end
  return rung
end

-- One more, or one less, of what an owner has waiting in a lane; the ring of owners is who is served in turn.
local function count_waiting(lane, owner, change)
  local left = redis.call('HINCRBY', P .. 'owners:' .. lane, owner, change)
  if left <= 0 then
    redis.call('HDEL', P .. 'owners:' .. lane, owner)
    redis.call('LREM', P .. 'ring:' .. TURNS[lane], 0, owner)
  elseif left == change then
    redis.call('RPUSH', P .. 'ring:' .. TURNS[lane], owner)
  end
  return left
end

local function enqueue(id, owner, lane)
  local stream = stream_key(lane, owner)
  if redis.call('EXISTS', stream) == 0 then
    redis.call('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
    redis.call('SADD', P .. 'streams', stream)
  end
  redis.call('ZADD', P .. 'waiting:' .. lane, text(NOW), id)
  count_waiting(lane, owner, 1)
  return redis.call('XADD', stream, '*', 'task', id), stream
end

local function acknowledge(stream, entry)
  redis.call('XACK', stream, GROUP, entry)
  redis.call('XDEL', stream, entry)
  if redis.call('XLEN', stream) == 0 then
    redis.call('DEL', stream)
    redis.call('SREM', P .. 'streams', stream)
  end
end

-- A worker has one claim less (none has it, if ''). Whoever drains to make way for a suspect is woken at its last.
local function let_go(worker)
  if worker == '' then return end
  if redis.call('HINCRBY', P .. 'held', worker, -1) <= 0 then
    redis.call('HDEL', P .. 'held', worker)
    redis.call('HDEL', P .. 'alone', worker)
    if redis.call('ZCOUNT', P .. 'leases', '-inf', text(NOW)) > 0 then ring() end
  end
end

local function call_back(kind, id, url, owner)
  local callback = 'cb_' .. id
  redis.call('HSET', P .. 'callback:' .. callback, 'kind', kind, 'ref', id, 'url', url, 'owner', owner, 'attempt', '0')
  redis.call('EXPIRE', P .. 'callback:' .. callback, A.task_ttl_s)
  redis.call('ZADD', P .. 'callbacks', text(NOW), callback)
  redis.call('ZREMRANGEBYSCORE', P .. 'callbacks', '-inf', text(NOW - A.task_ttl_s * 1000))
end

-- What an owner has is counted by the time it came in: names like `bytes` with a bucket each.
local BUCKETS = 24

local function kept_key(owner) return P .. 'kept:' .. owner end

local function bucket(at_ms) return math.floor(at_ms / (A.task_ttl_s * 1000 / BUCKETS)) end

local function count_kept(owner, name, change, at_ms)
  redis.call('HINCRBY', kept_key(owner), name .. ':' .. text(bucket(at_ms)), text(change))
  redis.call('EXPIRE', kept_key(owner), 2 * A.task_ttl_s)
end

-- An ended task keeps the start of a long request, and all of its result.
local function shorten(id, task, result)
  if task.brief then
    redis.call('HSET', task_key(id), 'request', task.brief)
    redis.call('HDEL', task_key(id), 'brief')
    count_kept(task.owner, 'bytes', -#task.request, tonumber(task.created))
  end
  count_kept(task.owner, 'bytes', #result, NOW)
end

-- A request whose pictures there are is remembered as long as their URLs live.
local function expire_task(id, status)
  redis.call('EXPIRE', task_key(id), status == 'success' and A.history_ttl_s or A.task_ttl_s)
end

local function expire_once(task)
  if task.once and task.once ~= '' then redis.call('EXPIRE', task.once, A.task_ttl_s) end
end

local function end_in_batch(batch)
  local key = batch_key(batch)
  if redis.call('HINCRBY', key, 'open', -1) > 0 then return end
  local whole = fields(key)
  redis.call('EXPIRE', key, A.task_ttl_s)
  expire_once(whole)
  for _, id in ipairs(cjson.decode(whole.tasks)) do
    expire_task(id, redis.call('HGET', task_key(id), 'status'))
  end
  if whole.callback ~= '' then call_back('batch', batch, whole.callback, whole.owner) end
end

-- Who waits for a job, and what a client waits for; `answers` names what has ended of that.
local function waiters_key(id) return P .. 'waiters:' .. id end
local function wanted_key(client) return P .. 'wanted:' .. client end
local function answers_key(client) return P .. 'answers:' .. client end

local function answer(client, id)
  redis.call('RPUSH', answers_key(client), id)
  redis.call('EXPIRE', answers_key(client), JOB_TTL_S)
end

-- Lets a job wait for a worker, as new. No claim of a former life of it has such a token.
local function begin_job(id, owner, job)
  redis.call('DEL', task_key(id))
  redis.call('PERSIST', waiters_key(id))
  local entry, stream = enqueue(id, owner, 'jobs')
  redis.call('HSET', task_key(id), 'job', '1', 'owner', owner, 'status', 'waiting', 'progress', '0', 'request', job,
    'created', text(NOW), 'updated', text(NOW), 'deliveries', '0', 'token', text(NOW), 'lane', 'jobs',
    'stream', stream, 'entry', entry, 'worker', '', 'holder', '')
end

-- A job that has ended is forgotten when nobody waits for it. One that was stopped while somebody came begins anew.
local function tell_waiters(id, task, status)
  local waiters = redis.call('SMEMBERS', waiters_key(id))
  if #waiters == 0 then
    redis.call('DEL', task_key(id))
  elseif status == 'cancelled' then
    begin_job(id, task.owner, task.request)
    ring('jobs')
  else
    redis.call('EXPIRE', task_key(id), JOB_TTL_S)
    redis.call('EXPIRE', waiters_key(id), JOB_TTL_S)
    for _, client in ipairs(waiters) do answer(client, id) end
  end
end

-- Tells everyone who is to hear of an ended request, and lets it be remembered for a while. A task of a batch is
-- remembered as long as the batch.
local function tell_client(id, task, status, result)
  shorten(id, task, result)
  local is_told = not task.events or string.find(task.events, 'task.' .. status, 1, true)
  if task.callback ~= '' and is_told then call_back('task', id, task.callback, task.owner) end
  local has_batch = task.batch ~= '' and redis.call('EXISTS', batch_key(task.batch)) == 1
  expire_once(task)
  if has_batch then end_in_batch(task.batch) else expire_task(id, status) end
  redis.call('ZADD', P .. 'owned:' .. task.owner, task.created, id)
  redis.call('EXPIRE', P .. 'owned:' .. task.owner, A.history_ttl_s)
  local minute = P .. 'ended:' .. math.floor(NOW / 60000)
  redis.call('INCR', minute)
  redis.call('EXPIRE', minute, 180)
  changed(id, task)
end

local DAY_MS = 24 * 3600 * 1000
local USAGE_DAYS = 62 -- whose sums are kept here; all of it is in the ledger
local USAGE_KEPT = 1000000 -- entries, where no gateway moves them to the ledger
local ENDED_AT_ONCE = 100
local DEAREST_FADES = 0.98 -- a picture, of what is kept for the next one

local function usage_key(owner) return P .. 'usage:' .. owner end

-- What an owner has used of a spending limit.
local function spent(owner, limit)
  local total = 0
  for day = limit.first, limit.before - 1 do
    total = total + (redis.call('HGET', usage_key(owner), text(day) .. ':' .. limit.counts) or 0)
  end
  return total
end

local function forget_days(owner, before)
  for _, field in ipairs(redis.call('HKEYS', usage_key(owner))) do
    local day = string.match(field, '^(%d+):')
    if day and tonumber(day) < before then redis.call('HDEL', usage_key(owner), field) end
  end
end

local function going_key(owner) return P .. 'going:' .. owner end

-- GPU ms of a task, whichever workers worked on it.
local function gpu_ms(task)
  local total = 0
  for name, ms in pairs(task) do
    if string.sub(name, 1, 4) == 'gpu:' then total = total + tonumber(ms) end
  end
  return total
end

-- GPU ms that an owner's tasks under way have taken, and that those with a worker should take more; nil for none.
local function going_on(owner, each_ms)
  local taken, expected = 0, nil
  for _, id in ipairs(redis.call('SMEMBERS', going_key(owner))) do
    local task = fields(task_key(id))
    if task.status ~= 'processing' then
      redis.call('SREM', going_key(owner), id)
    else
      taken = taken + gpu_ms(task)
      local left = each_ms * task.pictures - (task['gpu:' .. task.token] or 0)
      if task.holder ~= '' then expected = (expected or 0) + math.max(left, 0) end
    end
  end
  return taken, expected
end

-- How many pictures an owner may begin within the limits that its last submission came with, and whether one of them is
-- spent. What is under way keeps what it should take, each picture as much as the dearest lately; where nothing is, one
-- may begin.
local function room_of(owner)
  local room = math.huge
  local limits, dearest = unpack(redis.call('HMGET', usage_key(owner), 'limits', 'dearest'))
  for _, limit in ipairs(limits and cjson.decode(limits) or {}) do
    if NOW < limit.before * DAY_MS then
      local each, taken, expected = limit.each, 0, nil
      if limit.counts == 'gpu_ms' then
        each = math.max(each, dearest or 0)
        taken, expected = going_on(owner, each)
      end
      local left = limit.most - spent(owner, limit) - taken
      if left <= 0 then return 0, true end
      room = math.min(room, math.max(math.floor((left - (expected or 0)) / each), expected and 0 or 1))
    end
  end
  return room, false
end

-- What made a task's pictures, and what they are: {model, release, pictures, bytes}.
local function made(task, status, result)
  local asked = cjson.decode(task.request)
  local pictures, bytes, release = 0, 0, ''
  local recipe = asked.recipe
  if task.job then
    release = recipe.release
    if status == 'success' then pictures, bytes = 1, cjson.decode(result).size_bytes end
  elseif result ~= '' then
    local made = cjson.decode(result).pictures
    pictures = #made
    for _, one in ipairs(made) do bytes = bytes + one.size_bytes end
    if made[1] then release = string.match(made[1].recipe, '"release": ?"(%x+)"') or '' end
  end
  return {recipe and recipe.model or asked.model_type or '', release, pictures, bytes}
end

-- Counts what a task that ends has cost, whichever workers worked on it: for the ledger, and for its owner's limits.
local function record_usage(id, task, status, result)
  if task.pictures then redis.call('HINCRBY', usage_key(task.owner), 'open', -task.pictures) end
  local took_ms = gpu_ms(task)
  if took_ms == 0 and (task.job or status ~= 'success') then return end
  local model, release, pictures, bytes = unpack(made(task, status, result))
  redis.call('XADD', P .. 'usage', 'MAXLEN', '~', USAGE_KEPT, '*', 'task', id, 'owner', task.owner, 'model', model, 'release', release,
    'status', status, 'pictures', pictures, 'bytes', text(bytes), 'gpu_ms', text(took_ms))
  local day = math.floor(NOW / DAY_MS)
  for name, more in pairs({pictures = pictures, bytes = bytes, gpu_ms = took_ms}) do
    if redis.call('HINCRBY', usage_key(task.owner), text(day) .. ':' .. name, text(more)) == more then
      forget_days(task.owner, day - USAGE_DAYS)
    end
  end
  if pictures > 0 then
    local dearest = DEAREST_FADES * (redis.call('HGET', usage_key(task.owner), 'dearest') or 0)
    redis.call('HSET', usage_key(task.owner), 'dearest', text(math.max(took_ms / pictures, dearest)))
  end
  redis.call('EXPIRE', usage_key(task.owner), USAGE_DAYS * 24 * 3600)
end

-- Ends a task that has not ended.
local function finish(id, task, status, result, reason, cause)
  local key = task_key(id)
  redis.call('HSET', key, 'status', status, 'updated', text(NOW), 'ended_by', task.token, 'error', reason)
  if status == 'failed' then redis.call('HSET', key, 'cause', cause) end
  if status == 'success' then redis.call('HSET', key, 'progress', '100') end
  if result ~= '' then redis.call('HSET', key, task.job and 'outcome' or 'result', result) end
  if task.status == 'waiting' then
    redis.call('ZREM', P .. 'waiting:' .. task.lane, id)
    count_waiting(task.lane, task.owner, -1)
  else
    redis.call('ZREM', P .. 'leases', id)
    let_go(task.holder)
  end
  acknowledge(task.stream, task.entry)
  if task.previews then redis.call('DEL', previews_key(id)) end
  record_usage(id, task, status, result)
  if task.job then tell_waiters(id, task, status) else tell_client(id, task, status, result) end
  if redis.call('HDEL', usage_key(task.owner), 'waits') == 1 then ring() end
end

local function finish_spent(id, task)
  finish(id, task, 'failed', '', 'The budget is spent. GET /api/v1/usage tells when there is some again.', 'budget')
end

-- Ends the waiting requests of an owner whose budget is spent, the first of them.
local function stop_spending(owner)
  local _, is_spent = room_of(owner)
  if not is_spent then return end
  for _, lane in ipairs(REQUESTS) do
    for _, entry in ipairs(redis.call('XRANGE', stream_key(lane, owner), '-', '+', 'COUNT', ENDED_AT_ONCE)) do
      local task = fields(task_key(entry[2][2]))
      if task.status == 'waiting' then finish_spent(entry[2][2], task) end
    end
  end
end

-- Cancels a task: at once if no worker has it, else its worker is told with its next heartbeat.
local function cancel(id, task)
  if task.status == 'waiting' then
    finish(id, task, 'cancelled', '', '')
  elseif task.status == 'processing' then
    redis.call('HSET', task_key(id), 'cancel', '1')
    local lease_ends = tonumber(redis.call('ZSCORE', P .. 'leases', id) or 0)
    if task.holder == '' or lease_ends <= NOW then finish(id, task, 'cancelled', '', '') end
  end
end

-- Ends a task whose entry is lost. A Redis that is configured to evict keys loses them when it is full.
local function fail_evicted(id, task)
  finish(id, task, 'failed', '', 'Redis has lost the place of this request in the queue. Submit it again; whoever runs'
    .. ' this Redis: set maxmemory-policy noeviction.', 'other')
end

-- Ends an owner's waiting tasks whose stream is lost.
local function fail_lost(lane, owner)
  for _, id in ipairs(redis.call('ZRANGE', P .. 'waiting:' .. lane, 0, -1)) do
    local task = fields(task_key(id))
    if not task.status then
      redis.call('ZREM', P .. 'waiting:' .. lane, id)
    elseif task.owner == owner and task.status == 'waiting' then
      fail_evicted(id, task)
    end
  end
  redis.call('HDEL', P .. 'owners:' .. lane, owner)
  redis.call('LREM', P .. 'ring:' .. TURNS[lane], 0, owner)
end

-- The pending entry of a task; nil if there is none, or its stream is lost.
local function entry_of(task)
  local found = redis.pcall('XPENDING', task.stream, GROUP, task.entry, task.entry, 1)
  return found[1]
end

-- Sorts tasks as they came: streams number their entries by time, then within a millisecond.
local function age(task)
  local ms, place = string.match(task.entry, '^(%d+)-(%d+)$')
  return string.format('%020d %020d', ms, place)
end

local function bury(id, task, deliveries)
  local reason = 'Given up after ' .. deliveries .. ' attempts: each worker that tried it ended before it was done.'
    .. ' It may be what ends them. It is kept in the dead-letter stream and not tried again.'
  redis.call('XADD', P .. 'dead', 'MAXLEN', DEAD_LETTERS_KEPT, '*', 'task', id, 'owner', task.owner,
    'worker', task.worker, 'deliveries', deliveries, 'request', task.request)
  redis.call('EXPIRE', P .. 'dead', DEAD_LETTERS_TTL_S)
  finish(id, task, 'failed', '', reason, 'worker_lost')
end

-- Forgets a worker that ended: its heartbeat, and its name in the streams where nothing is pending for it.
local function forget(worker)
  redis.call('ZREM', P .. 'workers', worker)
  redis.call('HDEL', P .. 'worker_states', worker)
  for _, stream in ipairs(redis.call('SMEMBERS', P .. 'streams')) do
    local pending = redis.pcall('XPENDING', stream, GROUP, '-', '+', 1, worker)
    if pending.err then
      redis.call('SREM', P .. 'streams', stream)
    elseif #pending == 0 then
      redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, worker)
    end
  end
end

-- Settles what nobody should claim again: cancelled tasks whose worker is gone, and those that were tried too often.
-- Returns the claims without a worker that remain, those tried least and the oldest first.
local function sweep(max_deliveries)
  local left = {}
  local over = redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', text(NOW), 'WITHSCORES', 'LIMIT', 0, SWEPT_AT_ONCE)
  for place = 1, #over, 2 do
    local id = over[place]
    local task = fields(task_key(id))
    local pending = task.entry and entry_of(task)
    if not pending and task.status == 'processing' then
      fail_evicted(id, task)
    elseif not pending then
      redis.call('ZREM', P .. 'leases', id)
    elseif task.cancel then
      finish(id, task, 'cancelled', '', '')
    elseif not task.returned and pending[4] >= max_deliveries then
      bury(id, task, pending[4])
    else
      let_go(task.holder)
      redis.call('HSET', task_key(id), 'holder', '')
      local attempt = task.returned and pending[4] or pending[4] + 1
      left[#left + 1] = {id = id, task = task, attempt = attempt, since = tonumber(over[place + 1])}
    end
  end
  table.sort(left, function(a, b)
    if a.attempt ~= b.attempt then return a.attempt < b.attempt end
    return age(a.task) < age(b.task)
  end)
  return left
end

local function waiting(lanes)
  local total = 0
  for _, lane in ipairs(lanes) do total = total + redis.call('ZCARD', P .. 'waiting:' .. lane) end
  return total
end

-- When the task that has waited longest was accepted; now, if none waits.
local function oldest_waiting(lanes)
  local oldest = NOW
  for _, lane in ipairs(lanes) do
    local first = redis.call('ZRANGE', P .. 'waiting:' .. lane, 0, 0, 'WITHSCORES')
    if first[2] then oldest = math.min(oldest, tonumber(first[2])) end
  end
  return oldest
end
