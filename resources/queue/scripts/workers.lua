-- The states of the workers that live.

local states = {}
for place, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '(' .. text(NOW), '+inf')) do
  states[place] = redis.call('HGET', P .. 'worker_states', worker)
end
return states
