-- The account of an API key, and whether it may make one more call: its `qps_limit` within a sliding second. Returns
-- {account, 1 | 0}, {} for an unknown key. A call that is refused is not counted.
--
-- The count is no part of what Redis writes to disk or tells its replicas: after a restart a second begins anew, and
-- calls that change nothing else wait for no disk.

local IDLE_MS = 60000

write_although_full()
local record = redis.call('GET', A.record)
if not record then return {} end
redis.set_repl(redis.REPL_NONE)
local second = math.floor(NOW / 1000)
local at, before, count = string.match(redis.call('GET', A.record .. ':calls') or '0 0 0', '^(%d+) (%d+) (%d+)$')
at, before, count = tonumber(at), tonumber(before), tonumber(count)
if at ~= second then before, count = at == second - 1 and count or 0, 0 end
if before * (1 - NOW % 1000 / 1000) + count + 1 > cjson.decode(record).qps_limit then return {record, 0} end
redis.call('SET', A.record .. ':calls', string.format('%.0f %d %d', second, before, count + 1), 'PX', IDLE_MS)
return {record, 1}
