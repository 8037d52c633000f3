-- Give back what somebody took and has not acknowledged for kombu's visibility timeout.
--
-- ARGV[3...] of each message: tag, score it had in unacked_index, how many queues, and of each queue its name, level,
--          envelope; where one of us held it, an empty level and envelope: they stand in its tag and in unacked
-- Returns  {count, tag, error, ...}: how many were given back, not those that were acknowledged, restored or renewed
--          meanwhile; then those whose list is a key of another type. They stay held, and are tried again when as much
--          time has passed again, so that they are in nobody's way.

begin()
local moment = format('%.6f', now() / 1000000)
local restored, refused, at = 0, {}, 3
while at <= #ARGV do
  local tag, score, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local kept = call('HGET', UNACKED, tag)
  if not kept then
    call('ZREM', INDEX, tag)
  elseif call('ZSCORE', INDEX, tag) == score then
    local failed
    for place = at, at + (count - 1) * 3, 3 do -- all lists before any: what is tried again is not to be doubled
      local list = list_of(ARGV[place], ARGV[place + 1] == '' and sub(tag, -1) or ARGV[place + 1])
      local kind = call('TYPE', list).ok
      if kind ~= 'list' and kind ~= 'none' then
        failed = 'the key ' .. list .. ' is no list but a ' .. kind
      end
    end
    if failed then
      call('ZADD', INDEX, moment, tag)
      refused[#refused + 1] = tag
      refused[#refused + 1] = failed
    else
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
  end
  at = at + count * 3
end
return { restored, unpack(refused) }
