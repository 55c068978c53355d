-- Gives a worker up to A.count tasks, up to A.bulk of them bulk requests and jobs, and says how to wait for more.
-- Returns {claims, bells, next lease}: each claim {id, fields}; next lease in ms from now, or -1.
--
-- A task whose worker ended may be what ended it. So suspects are given to a worker that holds nothing else, which then
-- gets nothing more until they are done: one at first, then twice as many if that was quick, but each task's last try is
-- its alone. While suspects wait, workers finish what they hold; between two such groups a worker gets fresh tasks, if
-- those have waited long. So innocent tasks are never given up, and nobody waits for all of the suspects.

write_although_full()

local FRESH_WAIT_MS = A.lease_ms / 3 -- fresh tasks that have waited so long have a turn between suspects
local QUICK_MS = A.lease_ms / 6
local TRIAL = P .. 'trial:' .. A.worker -- how many suspects this worker tried last and, until another turn, since when

local preparing = A.preparing -- tasks of each owner whose input pictures this worker fetches
local rooms = {} -- pictures that the limits of each owner let it begin now
local over = {} -- owners whose budget is spent

-- Who may not begin one is looked at again when one of its tasks ends.
local function has_room(owner)
  if not rooms[owner] then rooms[owner], over[owner] = room_of(owner) end
  if rooms[owner] < 1 then redis.call('HSET', usage_key(owner), 'waits', '1') end
  return rooms[owner] >= 1
end

local function has_share(owner) return (preparing[owner] or 0) < A.preparing_each and has_room(owner) end

local held = tonumber(redis.call('HGET', P .. 'held', A.worker) or 0)
local given = {}
local bulk_left = A.bulk

local function give(id, task, attempt)
  local key = task_key(id)
  redis.call('HSET', key, 'status', 'processing', 'worker', A.worker, 'holder', A.worker, 'deliveries', attempt,
    'token', task.token + 1, 'updated', text(NOW))
  redis.call('HSETNX', key, 'started', text(NOW))
  redis.call('HDEL', key, 'returned')
  redis.call('ZADD', P .. 'leases', text(NOW + A.lease_ms), id)
  redis.call('HINCRBY', P .. 'held', A.worker, 1)
  if rooms[task.owner] < math.huge then
    redis.call('SADD', going_key(task.owner), id)
    redis.call('EXPIRE', going_key(task.owner), A.task_ttl_s)
    rooms[task.owner] = rooms[task.owner] - task.pictures
  end
  changed(id, task)
  if task.inputs then preparing[task.owner] = (preparing[task.owner] or 0) + 1 end
  if TURNS[task.lane] == 'bulk' then bulk_left = bulk_left - 1 end
  given[#given + 1] = {id, redis.call('HGETALL', key)}
end

local function take_over(found)
  local id, task, attempt = found.id, found.task, found.attempt
  redis.call('XCLAIM', task.stream, GROUP, A.worker, 0, task.entry, 'RETRYCOUNT', attempt)
  give(id, task, attempt)
end

local function is_suspect(found)
  return found.attempt > 1
end

-- One that has ended several workers goes after fresh tasks, for as long as a lease.
local function may_wait(found)
  return found.attempt > 2 and NOW - found.since < A.lease_ms and waiting(LANES) > 0
end

local function take_suspects(suspects, most)
  local size = 0
  for _, found in ipairs(suspects) do
    local is_last_try = found.attempt >= A.max_deliveries
    if size == most or (is_last_try and size > 0) or not has_room(found.task.owner) then break end
    take_over(found)
    size = size + 1
    if is_last_try then break end
  end
  redis.call('HSET', P .. 'alone', A.worker, size)
  redis.call('HSET', TRIAL, 'size', size, 'began', text(NOW))
  redis.call('PEXPIRE', TRIAL, 20 * A.lease_ms)
end

-- Gives suspects, or says that it is the turn of fresh tasks.
local function try_suspects(suspects)
  local size, began = unpack(redis.call('HMGET', TRIAL, 'size', 'began'))
  size = tonumber(size or 1)
  if began then
    size = NOW - began < QUICK_MS and 2 * size or math.max(1, math.floor(size / 2))
    if NOW - oldest_waiting(LANES) > FRESH_WAIT_MS then
      redis.call('HSET', TRIAL, 'size', size)
      redis.call('HDEL', TRIAL, 'began')
      return true
    end
  end
  take_suspects(suspects, math.min(size, A.count))
  return false
end

-- Takes over what has no worker any more. Returns whether fresh tasks may be given as well.
local function take_abandoned(abandoned)
  local suspects = {}
  for _, found in ipairs(abandoned) do
    local may_begin = has_room(found.task.owner)
    if over[found.task.owner] then
      found.task.holder = '' -- who had it has been let go of
      finish_spent(found.id, found.task)
    elseif is_suspect(found) then
      if may_begin and not may_wait(found) then suspects[#suspects + 1] = found end
    elseif #given < A.count and has_share(found.task.owner) and (bulk_left > 0 or TURNS[found.task.lane] ~= 'bulk') then
      take_over(found)
    end
  end
  if #suspects == 0 then
    redis.call('DEL', TRIAL)
    return true
  end
  if held + #given > 0 or A.count == 0 then return false end
  return try_suspects(suspects)
end

local function next_owner(lane)
  local ring_key = P .. 'ring:' .. lane
  for _ = 1, redis.call('LLEN', ring_key) do
    local owner = redis.call('LPOP', ring_key)
    redis.call('RPUSH', ring_key, owner)
    if has_share(owner) then return owner end
  end
end

-- Gives the next fresh task of those that take turns, of which there are some; what an evicting Redis lost is passed
-- over.
local function take_fresh(turns)
  local owner = next_owner(turns)
  local lane = redis.call('HEXISTS', P .. 'owners:jobs', owner) == 1 and 'jobs' or turns
  local stream = stream_key(lane, owner)
  local read = redis.pcall('XREADGROUP', 'GROUP', GROUP, A.worker, 'COUNT', 1, 'STREAMS', stream, '>')
  if not read or read.err then
    fail_lost(lane, owner)
    return
  end
  local entry = read[1][2][1]
  local id = entry[2][2]
  local task = fields(task_key(id))
  count_waiting(lane, owner, -1)
  redis.call('ZREM', P .. 'waiting:' .. lane, id)
  if task.status then give(id, task, 1) else acknowledge(stream, entry[1]) end
end

local function has_fresh(turns)
  if turns == 'bulk' and bulk_left <= 0 then return false end
  for _, owner in ipairs(redis.call('LRANGE', P .. 'ring:' .. turns, 0, -1)) do
    if has_share(owner) then return true end
  end
  return false
end

-- Interactive tasks go first; while both lanes wait, every A.bulk_every-th is a bulk one. Nil if nothing is to be given.
local function next_turn()
  local interactive, bulk = has_fresh('interactive'), has_fresh('bulk')
  if not (interactive and bulk) then return interactive and 'interactive' or bulk and 'bulk' or nil end
  return redis.call('INCR', P .. 'turns') % A.bulk_every == 0 and 'bulk' or 'interactive'
end

-- The claims of a call whose answer was lost, as far as they are still this worker's.
local function given_before()
  local nonce, ids = string.match(redis.call('GET', P .. 'given:' .. A.worker) or '', '^(%S+) (.+)$')
  if nonce ~= A.nonce then return false end
  for _, pair in ipairs(cjson.decode(ids)) do
    local worker, token, status = unpack(redis.call('HMGET', task_key(pair[1]), 'worker', 'token', 'status'))
    if status == 'processing' and worker == A.worker and token == pair[2] then
      given[#given + 1] = {pair[1], redis.call('HGETALL', task_key(pair[1]))}
    end
  end
  return true
end

local function remember()
  local ids = {}
  for place, claim in ipairs(given) do
    ids[place] = {claim[1], redis.call('HGET', task_key(claim[1]), 'token')}
  end
  redis.call('SET', P .. 'given:' .. A.worker, A.nonce .. ' ' .. cjson.encode(ids), 'PX', A.lease_ms)
end

if not given_before() then
  local abandoned = sweep(A.max_deliveries)
  held = tonumber(redis.call('HGET', P .. 'held', A.worker) or 0)
  if redis.call('HEXISTS', P .. 'alone', A.worker) == 0 and take_abandoned(abandoned) then
    local turn = next_turn()
    while #given < A.count and turn do
      take_fresh(turn)
      turn = #given < A.count and next_turn()
    end
  end
  for owner, is_spent in pairs(over) do
    if is_spent then stop_spending(owner) end
  end
  if #given > 0 then remember() end
end
local soonest = redis.call('ZRANGEBYSCORE', P .. 'leases', '(' .. text(NOW), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {given, bells(), soonest[2] and text(tonumber(soonest[2]) - NOW) or '-1'}
