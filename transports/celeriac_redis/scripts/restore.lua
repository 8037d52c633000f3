-- Give back what somebody took and has not acknowledged for kombu's visibility timeout.
--
-- ARGV[3...] of each message: tag, score it had in unacked_index, how many queues, and of each queue its name, level,
--          envelope; where one of us held it, an empty level and envelope: they stand in its tag and in unacked
-- Returns  how many were given back: not those that were acknowledged, restored or renewed meanwhile

begin()
local restored, at = 0, 3
while at <= #ARGV do
  local tag, score, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local kept = call('HGET', UNACKED, tag)
  if not kept then
    call('ZREM', INDEX, tag)
  elseif call('ZSCORE', INDEX, tag) == score then
    for place = at, at + (count - 1) * 3, 3 do
      local queue, level = ARGV[place], ARGV[place + 1]
      if level == '' then
        put_back(queue, tag, kept, tail_of(queue), 1)
      else
        call('RPUSH', list_of(queue, level), ARGV[place + 2])
      end
      wake(queue)
    end
    call('HDEL', UNACKED, tag)
    call('ZREM', INDEX, tag)
    restored = restored + 1
  end
  at = at + count * 3
end
return restored
