-- Accepts tasks, all or none. Returns {'new', id, created}, {'known', id}, {'conflict', 'key' | task id},
-- {'full' | 'crowded', tasks ended lately, in how many s}: crowded is who has to leave the places left to others, or
-- {'beyond', name of a limit of A.most, in how many s there is some room again}, or {'spent', name of one of A.limits}.
-- With A.dry, {'room'} instead of 'new'.

local RESERVED = 100  -- one place of so many is kept for owners with less than an even share of all

-- The id that an idempotency key or a task id was used for, if its content is the same; false if it is not.
local function used_before()
  if A.batch ~= '' and redis.call('EXISTS', batch_key(A.batch)) == 1 then return {'known', A.batch} end
  if A.once ~= '' then
    local digest, id = string.match(redis.call('GET', A.once) or '', '^(%x+) (.+)$')
    if id then return {digest == A.digest and 'known' or 'conflict', digest == A.digest and id or 'key'} end
  end
  for _, new in ipairs(A.tasks) do
    local owner, digest = unpack(redis.call('HMGET', task_key(new.id), 'owner', 'digest'))
    if owner then
      local same = owner == A.owner and digest == new.digest and A.batch == ''
      return {same and 'known' or 'conflict', new.id}
    end
  end
end

local function ended_lately()
  local minute = math.floor(NOW / 60000)
  return (redis.call('GET', P .. 'ended:' .. minute) or 0) + (redis.call('GET', P .. 'ended:' .. (minute - 1)) or 0)
end

-- An even share of the queue among the owners who wait, and one more, who may come.
local function beyond_share()
  local own, owners = #A.tasks, 1
  for _, lane in ipairs(REQUESTS) do
    own = own + (redis.call('HGET', P .. 'owners:' .. lane, A.owner) or 0)
    owners = owners + redis.call('HLEN', P .. 'owners:' .. lane)
  end
  return own > A.max_waiting / owners
end

-- What the owner has by name, and the oldest bucket that holds any of it.
local function kept()
  local totals, oldest = {}, {}
  local flat, gone = redis.call('HGETALL', kept_key(A.owner)), bucket(NOW) - BUCKETS
  for i = 1, #flat, 2 do
    local name, at = string.match(flat[i], '^(.+):(%d+)$')
    at = tonumber(at)
    if at <= gone then
      redis.call('HDEL', kept_key(A.owner), flat[i])
    else
      totals[name] = (totals[name] or 0) + tonumber(flat[i + 1])
      oldest[name] = math.min(oldest[name] or at, at)
    end
  end
  return totals, oldest
end

local function beyond_limit()
  local totals, oldest = kept()
  for name, most in pairs(A.most) do
    if A.added[name] > 0 and (totals[name] or 0) + A.added[name] > most then
      local room_at_ms = ((oldest[name] or bucket(NOW)) + BUCKETS + 1) * (A.task_ttl_s * 1000 / BUCKETS)
      return {'beyond', name, text((room_at_ms - NOW) / 1000)}
    end
  end
end

-- The spending limit that these pictures would go beyond, with those that are asked for already.
local function beyond_budget(pictures)
  local asked = pictures + (redis.call('HGET', usage_key(A.owner), 'open') or 0)
  for _, limit in ipairs(A.limits) do
    if spent(A.owner, limit) + asked * limit.each > limit.most then return {'spent', limit.name} end
  end
end

local function refusal()
  local total = waiting(REQUESTS) + #A.tasks
  if total > A.max_waiting then return 'full' end
  if total > A.max_waiting - math.floor(A.max_waiting / RESERVED) and beyond_share() then return 'crowded' end
end

-- Forgets the oldest entries of an owner's list whose tasks are gone: more than are added, so that it stays bounded.
local function prune_owned(owned)
  local old = redis.call('ZRANGEBYSCORE', owned, '-inf', text(NOW - A.history_ttl_s * 1000), 'LIMIT', 0, 2 + #A.tasks)
  for _, id in ipairs(old) do
    if redis.call('EXISTS', task_key(id)) == 0 then redis.call('ZREM', owned, id) end
  end
end

local function accept(new)
  local entry, stream = enqueue(new.id, A.owner, new.lane)
  redis.call('HSET', task_key(new.id), 'owner', A.owner, 'status', 'waiting', 'progress', '0', 'request', new.request,
    'digest', new.digest, 'batch', A.batch, 'callback', new.callback, 'created', text(NOW), 'updated', text(NOW),
    'deliveries', '0', 'token', '0', 'lane', new.lane, 'stream', stream, 'entry', entry, 'worker', '', 'holder', '',
    'once', A.batch == '' and A.once or '', 'pictures', new.pictures)
  if new.events ~= '' then redis.call('HSET', task_key(new.id), 'events', new.events) end
  if new.inputs then redis.call('HSET', task_key(new.id), 'inputs', '1') end
  if new.brief then redis.call('HSET', task_key(new.id), 'brief', new.brief) end
  redis.call('ZADD', P .. 'owned:' .. A.owner, text(NOW), new.id)
end

local known = used_before()
if known then return known end
local refused = refusal()
if refused then return {refused, ended_lately(), text(60 + NOW / 1000 % 60)} end
local beyond = beyond_limit()
if beyond then return beyond end
local pictures = 0
for _, new in ipairs(A.tasks) do pictures = pictures + new.pictures end
local over = beyond_budget(pictures)
if over then return over end
if A.dry then return {'room'} end
for name, added in pairs(A.added) do
  if added > 0 then count_kept(A.owner, name, added, NOW) end
end
local ids = {}
local lanes = {}
redis.call('HINCRBY', usage_key(A.owner), 'open', pictures)
redis.call('HSET', usage_key(A.owner), 'limits', cjson.encode(A.limits))
redis.call('EXPIRE', usage_key(A.owner), USAGE_DAYS * 24 * 3600)
for place, new in ipairs(A.tasks) do
  accept(new)
  ids[place] = new.id
  lanes[new.lane] = true
end
redis.call('EXPIRE', P .. 'owned:' .. A.owner, A.history_ttl_s)
prune_owned(P .. 'owned:' .. A.owner)
local id = ids[1]
if A.batch ~= '' then
  id = A.batch
  redis.call('HSET', batch_key(id), 'owner', A.owner, 'tasks', cjson.encode(ids), 'callback', A.callback,
    'created', text(NOW), 'open', #ids, 'once', A.once)
end
if A.once ~= '' then redis.call('SET', A.once, A.digest .. ' ' .. id) end
for lane in pairs(lanes) do ring(lane) end
return {'new', id, text(NOW)}
