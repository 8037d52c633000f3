-- Remember that messages are not to be run, and tell who follows.
--
-- ARGV[3]  the sorted set: id -> moment until which it holds
-- ARGV[4]  the channel
-- ARGV[5]  what is told on it
-- ARGV[6]  until when
-- ARGV[7...] the ids
-- Returns  how many were remembered

local key = ARGV[3]
for at = 7, #ARGV do
  call('ZADD', key, 'GT', ARGV[6], ARGV[at])
end
call('ZREMRANGEBYSCORE', key, '-inf', whole(now()))
local last = call('ZRANGE', key, -1, -1, 'WITHSCORES')
if last[2] then
  call('PEXPIREAT', key, whole(math.ceil(last[2] / 1000)))
end
call('PUBLISH', ARGV[4], ARGV[5])
return #ARGV - 6
