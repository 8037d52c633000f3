-- What every script begins with. Moments are microseconds since 1970 by the server's own clock, the only one that all
-- clients have in common. Redis 6.2 is enough.
--
-- KEYS[1]  unacked               kombu's hash: tag -> ["envelope", "exchange", "routing key"]
-- KEYS[2]  unacked_index         kombu's sorted set: tag -> seconds when it was taken, or its lease renewed
-- KEYS[3]  celeriac:queues       hash: queue -> "<priorities> <arguments as JSON>"
-- KEYS[4]  celeriac:exchanges    hash: exchange -> direct | topic | fanout
-- KEYS[5]  celeriac:paused       set of queues
-- ARGV[1]  what the names of all keys begin with: those of a queue are made from it here
-- ARGV[2]  what the names of the channels begin with on which sleepers are woken: the queue's name follows
--
-- A tag of ours ends in the level of the list it came from: 1 to 9 are our priorities, higher is sooner; 0 is the list
-- that kombu knows as the queue; a, b, c are Celery's steps 3, 6, 9, lower is sooner.

local UNACKED, INDEX, QUEUES, EXCHANGES, PAUSED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local PREFIX, BELL = ARGV[1], ARGV[2]
local SEPARATOR = '\6\22'
local STEPS = { a = '3', b = '6', c = '9' }
local MOST = 1000 -- arguments of one command
local MOST_PROMOTED = 1000 -- messages that fall due in one script: some 2 ms
local MOST_RECLAIMED = 200

local sub, find, match, format = string.sub, string.find, string.match, string.format

-- redis.call, which in addition names the key that has another type
local function call(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) == 'table' and answer.err then
    if find(answer.err, 'WRONGTYPE', 1, true) then
      error(answer.err .. ' (' .. key .. ')', 0)
    end
    return redis.call(command, key, ...) -- it fails again, in the server's own words
  end
  return answer
end

local function whole(number)
  return format('%.0f', number)
end

-- Write nothing, as a script that takes work off the server begins: a key of another type and a read-only server fail
-- here, before anything is done; and a script that has begun to write may go on where the server's memory is full.
local function begin()
  call('HDEL', UNACKED, '')
  call('ZREM', INDEX, '')
end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function list_of(queue, level)
  if level == '0' then
    return PREFIX .. queue
  end
  local step = STEPS[level]
  if step then
    return PREFIX .. queue .. SEPARATOR .. step
  end
  return PREFIX .. queue .. SEPARATOR .. '+' .. level
end

local function held_of(queue)
  return PREFIX .. 'celeriac:held:' .. queue
end

local function delayed_of(queue)
  return PREFIX .. 'celeriac:delayed:' .. queue
end

-- how many priorities the queue keeps apart; nil if there is no such queue
local function levels_of(queue)
  local declared = call('HGET', QUEUES, queue)
  return declared and tonumber(match(declared, '^%d+'))
end

-- the levels of a queue with that many priorities, the next to be taken first
local function each_level(priorities)
  local levels = {}
  for level = priorities - 1, 0, -1 do
    levels[#levels + 1] = tostring(level)
  end
  levels[#levels + 1] = 'a'
  levels[#levels + 1] = 'b'
  levels[#levels + 1] = 'c'
  return levels
end

-- one command for many arguments: `head` before each run of them
local function in_runs(command, key, arguments, each)
  local most = MOST - MOST % (each or 1)
  for start = 1, #arguments, most do
    call(command, key, unpack(arguments, start, math.min(start + most - 1, #arguments)))
  end
end

-- what stands in unacked for an envelope: should kombu restore it, it goes back to the queue it came from
local function tail_of(queue)
  return ',"",' .. cjson.encode(queue) .. ']'
end

local function envelope_in(kept, tail)
  return sub(kept, 2, -(#tail + 1))
end

-- an envelope that comes back says so at its head: how many deliveries count, and how often it came back
local function returned(envelope, counted)
  local deliveries, returns, at = match(envelope, '^{"celeriac%-returns": ?%[(%d+), ?(%d+)%], ?()')
  if not deliveries then
    if not find(envelope, '^{%s*"') then
      return envelope -- no envelope of anyone
    end
    deliveries, returns, at = 0, 0, 2
  end
  return format('{"celeriac-returns":[%d,%d],', deliveries + counted, returns + 1) .. sub(envelope, at)
end

local function wake(queue)
  call('PUBLISH', BELL .. queue, '')
end

-- keep an envelope until its moment; two that are the same to the letter are two all the same
local function delay(queue, level, envelope, due)
  local key = delayed_of(queue)
  local member = level .. envelope
  while call('ZADD', key, 'NX', whole(due), member) == 0 do
    member = member .. ' '
  end
  local first = call('ZRANGE', key, 0, 0)
  if first[1] == member then
    wake(queue)
  end
end

-- make ready what has fallen due, in the order of the moments
local function promote(queue, moment)
  local key = delayed_of(queue)
  local due = call('ZRANGEBYSCORE', key, '-inf', whole(moment), 'LIMIT', 0, MOST_PROMOTED)
  for place, member in ipairs(due) do
    local list = list_of(queue, sub(member, 1, 1))
    local pushed = redis.pcall('LPUSH', list, sub(member, 2))
    if type(pushed) == 'table' then -- somebody else's key: what was pushed before is not to be pushed again
      in_runs('ZREM', key, { unpack(due, 1, place - 1) })
      error(pushed.err .. ' (' .. list .. ')', 0)
    end
  end
  if #due > 0 then
    call('ZREMRANGEBYRANK', key, 0, #due - 1)
  end
  return #due
end

-- put back to the head of its list what is held under a tag; `counted` is 1 where nobody returned it
local function put_back(queue, tag, kept, tail, counted)
  local list = list_of(queue, sub(tag, -1))
  local length = call('RPUSH', list, returned(envelope_in(kept, tail), counted))
  call('HDEL', UNACKED, tag)
  call('ZREM', INDEX, tag)
  call('ZREM', held_of(queue), tag)
  return length == 1
end

-- take back what was held beyond its lease; what kombu has restored is only forgotten
local function reclaim(queue, moment)
  local held = held_of(queue)
  local tags = call('ZRANGEBYSCORE', held, '-inf', whole(moment), 'LIMIT', 0, MOST_RECLAIMED)
  local tail = #tags > 0 and tail_of(queue)
  for place = #tags, 1, -1 do
    local tag = tags[place]
    local kept = call('HGET', UNACKED, tag)
    if kept then
      put_back(queue, tag, kept, tail, 1)
    else
      call('ZREM', held, tag)
    end
  end
  return #tags
end
