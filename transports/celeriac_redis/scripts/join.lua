-- Add a member to a group; answer whether this call has completed it.
--
-- KEYS     1 the set of the group's members, 2 the call that completed it
-- ARGV     1 the member, 2 the size of the complete group, 3 a name of this call, 4 milliseconds that the group is kept
-- returns  1 for the call that makes the set as large as the size, and for the same call made again as its answer was
--          lost; 0 for every other

local members, completed = KEYS[1], KEYS[2]
local member, size, call, kept = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

if redis.call('GET', completed) == call then
    return 1
end
local added = redis.call('SADD', members, member)
redis.call('PEXPIRE', members, kept)
if added == 1 and redis.call('SCARD', members) == size then
    redis.call('SET', completed, call, 'PX', kept)
    return 1
end
return 0
