-- Renew leases, and kombu's too: its restore counts from the moment in unacked_index.
--
-- ARGV[3]  the lease in microseconds
-- ARGV[4...] tag, queue of each delivery
-- Returns  for each 1 if it is still ours, 0 if it was lost

local moment = now()
local until_ = whole(moment + tonumber(ARGV[3]))
local renewed_at = format('%.6f', moment / 1000000)
local answers = {}
for at = 4, #ARGV, 2 do
  local tag, queue = ARGV[at], ARGV[at + 1]
  if call('HEXISTS', UNACKED, tag) == 1 then
    call('ZADD', INDEX, renewed_at, tag)
    call('ZADD', held_of(queue), until_, tag)
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
return answers
