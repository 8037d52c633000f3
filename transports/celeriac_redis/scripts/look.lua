-- Count what is in a queue, and show what comes next. What has fallen due, or was held too long, is made ready first.
--
-- ARGV[3]  the queue
-- ARGV[4]  how many envelopes to show at most; 0 shows the oldest of each list
-- Returns  {} if there is no such queue
--          {now, ready, running, delayed, paused (0 or 1), envelope, ...}

local queue, most = ARGV[3], tonumber(ARGV[4])
local priorities = levels_of(queue)
if not priorities then
  return {}
end
begin()
local moment = now()
while reclaim(queue, moment) == MOST_RECLAIMED do end
while promote(queue, moment) == MOST_PROMOTED do end
local ready, shown = 0, {}
for _, level in ipairs(each_level(priorities)) do
  local list = list_of(queue, level)
  local length = call('LLEN', list)
  ready = ready + length
  local wanted = most == 0 and 1 or most - #shown
  if length > 0 and wanted > 0 then
    local envelopes = call('LRANGE', list, -wanted, -1)
    for place = #envelopes, 1, -1 do
      shown[#shown + 1] = envelopes[place]
    end
  end
end
local running, delayed = call('ZCARD', held_of(queue)), call('ZCARD', delayed_of(queue))
local answer = { whole(moment), ready, running, delayed, call('SISMEMBER', PAUSED, queue) }
for _, envelope in ipairs(shown) do
  answer[#answer + 1] = envelope
end
return answer
