-- Hold back a queue's messages, or let them go.
--
-- ARGV[3]  the queue
-- ARGV[4]  "1" to pause, "0" to resume
-- Returns  1, or 0 if there is no such queue

local queue = ARGV[3]
if not levels_of(queue) then
  return 0
end
call(ARGV[4] == '1' and 'SADD' or 'SREM', PAUSED, queue)
wake(queue)
return 1
