-- Store the states of tasks, each only where it may take the place of what stands, and tell who listens.
--
-- KEYS     one a record, in order; a key may come again: what came before then stands
-- ARGV     four a record: the result's JSON, its state, its attempt, how long it is kept in milliseconds
-- returns  one number a record: 1 stored, 0 refused, -1 the key is not a string
--
-- Refused is whatever would replace a final state or a later attempt, and PENDING where anything stands at all. What
-- stands may be a Celery worker's: without 'retries' it speaks of the first attempt, and what cannot be read (compressed,
-- by 'result_compression') is replaced, if not by PENDING. A record that Celery could have written is published on the
-- channel that has the key's name; PENDING is not, as Celery never writes it.

local FINAL = {SUCCESS = true, FAILURE = true, REVOKED = true}

local function standing(value)
    local state = string.match(value, '^{"status": "(%w+)"')
    if state and FINAL[state] then
        return state, 0
    end
    local read, meta = pcall(cjson.decode, value)
    if not read or type(meta) ~= 'table' then
        return nil, 0
    end
    local retries = meta.retries
    if retries == cjson.null then
        return meta.status, 0
    end
    return meta.status, (tonumber(retries) or 0) + 1
end

local answers = {}
for i, key in ipairs(KEYS) do
    local value, state, attempt, kept = ARGV[4 * i - 3], ARGV[4 * i - 2], tonumber(ARGV[4 * i - 1]), ARGV[4 * i]
    local known = redis.pcall('GET', key)
    if type(known) == 'table' then
        answers[i] = -1
    else
        local taken = 1
        if known then
            local stands, of = standing(known)
            if state == 'PENDING' or FINAL[stands or ''] or of > attempt then
                taken = 0
            end
        end
        if taken == 1 then
            redis.call('SET', key, value, 'PX', kept)
            if state ~= 'PENDING' then
                redis.call('PUBLISH', key, value)
            end
        end
        answers[i] = taken
    end
end
return answers
