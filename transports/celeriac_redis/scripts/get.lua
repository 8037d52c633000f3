-- Read values, and how long each is still kept.
--
-- KEYS     any number
-- ARGV     none
-- returns  two a key: the value, or nothing, or -1 where the key is not a string; milliseconds, -1 for ever, -2 nothing

local answers = {}
for i, key in ipairs(KEYS) do
    local value = redis.pcall('GET', key)
    if type(value) == 'table' then
        value = -1
    end
    answers[2 * i - 1] = value
    answers[2 * i] = redis.call('PTTL', key)
end
return answers
