-- Leases callbacks that are due. Returns for each {id, kind, ref, url, owner, attempt}.
-- Those of an owner who has A.owner_limit of them under way (A.under_way) go to the end of the line.

write_although_full()

local AHEAD = 500

local taken, under_way = {}, A.under_way
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'callbacks', '-inf', text(NOW), 'LIMIT', 0, A.count + AHEAD)) do
  if #taken == A.count then break end
  local callback = fields(P .. 'callback:' .. id)
  local owner = callback.owner or ''
  if callback.ref and redis.call('EXISTS', P .. callback.kind .. ':' .. callback.ref) == 1 then
    if (under_way[owner] or 0) >= A.owner_limit then
      redis.call('ZADD', P .. 'callbacks', text(NOW), id)
    else
      under_way[owner] = (under_way[owner] or 0) + 1
      redis.call('ZADD', P .. 'callbacks', text(NOW + A.lease_ms), id)
      local attempt = redis.call('HINCRBY', P .. 'callback:' .. id, 'attempt', 1)
      taken[#taken + 1] = {id, callback.kind, callback.ref, callback.url, callback.owner, attempt}
    end
  else -- nobody remembers what it was to tell
    redis.call('ZREM', P .. 'callbacks', id)
    redis.call('DEL', P .. 'callback:' .. id)
  end
end
return taken
