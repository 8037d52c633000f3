-- Drop values.
--
-- KEYS     any number
-- ARGV     none
-- returns  how many there were

local dropped = 0
for _, key in ipairs(KEYS) do
    dropped = dropped + redis.call('UNLINK', key)
end
return dropped
