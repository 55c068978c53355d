-- Lets other workers have claims at once; they count as not delivered.

write_although_full()
for _, claim in ipairs(A.claims) do
  local id, key = claim[1], task_key(claim[1])
  local task = fields(key)
  if task.status == 'processing' and task.token == claim[2] and not task.returned then
    let_go(task.holder)
    redis.call('HSET', key, 'returned', '1', 'holder', '', 'deliveries', math.max(0, task.deliveries - 1))
    redis.call('ZADD', P .. 'leases', text(NOW), id)
  end
end
ring()
return 1
