-- Read values, and how long each is still kept.
--
-- KEYS     any number
-- ARGV     1 bytes: beyond so many no more keys are looked at
-- returns  two a key, for the first one at least: the value, or nothing, or -1 where the key is not a string;
--          milliseconds, -1 for ever, -2 nothing

local answers, size, most = {}, 0, tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
    if size > most then
        break
    end
    local value = redis.pcall('GET', key)
    if type(value) == 'table' then
        value = -1
    elseif value then
        size = size + #value
    end
    answers[2 * i - 1] = value
    answers[2 * i] = redis.call('PTTL', key)
end
return answers
