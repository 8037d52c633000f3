-- Drop what is ready or delayed in a queue; what is held stays.
--
-- ARGV[3]  the queue
-- Returns  how many were dropped; -1 if there is no such queue

local queue = ARGV[3]
local priorities = levels_of(queue)
if not priorities then
  return -1
end
begin()
reclaim(queue, now())
local dropped = call('ZCARD', delayed_of(queue))
local keys = { delayed_of(queue) }
for _, level in ipairs(each_level(priorities)) do
  local list = list_of(queue, level)
  dropped = dropped + call('LLEN', list)
  keys[#keys + 1] = list
end
call('UNLINK', unpack(keys))
return dropped
