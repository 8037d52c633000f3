-- Delete a queue, its bindings and all that is in it; whoever holds something of it loses it.
--
-- ARGV[3]  the queue
-- Returns  1, or 0 if there was no such queue

local queue = ARGV[3]
local existed = call('HDEL', QUEUES, queue)
local keys = { delayed_of(queue), held_of(queue) }
for _, level in ipairs(each_level(10)) do
  keys[#keys + 1] = list_of(queue, level)
end
local tags = call('ZRANGE', held_of(queue), 0, -1)
in_runs('HDEL', UNACKED, tags)
in_runs('ZREM', INDEX, tags)
call('UNLINK', unpack(keys))
call('SREM', PAUSED, queue)
for _, exchange in ipairs(call('HKEYS', EXCHANGES)) do
  for _, kind in ipairs({ '_kombu.binding.', '_kombu.binding_permanent.' }) do
    local key = PREFIX .. kind .. exchange
    for _, member in ipairs(call('SMEMBERS', key)) do
      local ending = SEPARATOR .. queue
      if sub(member, -#ending) == ending then
        call('SREM', key, member)
      end
    end
  end
end
return existed
